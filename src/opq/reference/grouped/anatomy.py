"""What the bits of a grouped stream are for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from opq.reference.grouped.chunk import Symbols, Tables
from opq.reference.grouped.parameters import decode_parameters, encode_parameters
from opq.reference.grouped.stream import read_varint
from opq.reference.grouped.tables import SCALE_BITS, Int

_NONE = np.zeros(0, dtype=np.int64)


def stream_parts(data: bytes | memoryview, codes: npt.NDArray[np.integer]) -> dict[str, float]:
    """Bytes of masks, magnitudes, signs, side information and tables in the stream of `codes` [n].

    A symbol of frequency f of 4096 takes log2(4096 / f) bits, though no bit of the stream is its own. Side information are the
    scales of rows and columns; tables are all other parameters. What the parts leave of the stream is the chunks' lengths,
    their states, and rounding.
    """
    size, position = read_varint(data, 0)
    side = data[position : position + size]
    parameters = decode_parameters(side, codes.size)
    tables = Tables(parameters)
    bits = dict.fromkeys(("masks", "magnitudes", "signs"), 0.0)
    step = parameters.rows_per_chunk * parameters.row_length
    for start in range(0, codes.size, step):
        symbols = Symbols(codes[start : start + step].astype(np.int64), tables, start // parameters.row_length)
        passes = symbols.passes(tables)
        bits["masks"] += _bits(passes.counts[0]) + _bits(passes.masks[0])
        bits["magnitudes"] += _bits(passes.magnitudes[0]) + float(symbols.width.sum())
        bits["signs"] += _bits(passes.signs[0]) + symbols.raw_signs
    without_scales = len(encode_parameters(replace(parameters, row_scale=_NONE, column_scale=_NONE)))
    return {
        **{part: n / 8.0 for part, n in bits.items()},
        "side information": float(size - without_scales),
        "tables": float(without_scales),
    }


def _bits(frequencies: Int) -> float:
    return float(SCALE_BITS * frequencies.size - np.log2(frequencies).sum())
