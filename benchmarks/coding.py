"""opq's entropy coder beside NNCodec and general compressors: sizes and speeds on the tensors of coding_tensors.py, in one run.

    python benchmarks/coding.py [--sets resnet_80_7 mbv2_80_7] [--repeats 7] [--write FILE]

The first call downloads the networks and builds NNCodec (a C++ compiler, about a minute). A peer that is missing is named in
one line and left out.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks import coding_large
from benchmarks.coding_peers import GeneralCompressor, Missing, NNCodec, general_compressors, pack
from benchmarks.coding_tensors import NAMES, tensors
from benchmarks.machine import best_isa, cpu_name
from opq import _core, codec
from opq.benchmark import Engine, Run, measure
from opq.cli.tables import format_table, progress
from opq.compressed import CompressedModel
from opq.quantization import QuantizedTensor
from opq.threads import available_cores

Codes = npt.NDArray[np.int8]
Table = tuple[list[str], list[list[str]]]

FILE_ON_ONE, FILE_ON_TWO = "opq file, 1 thread", "opq file, 2 threads"
ENCODE_RUNS = 3


@dataclass(frozen=True)
class Candidate:
    """One codec on one set: its bytes (None where another candidate has the same), and what to time."""

    name: str
    size: int | None
    decode: Run
    encode: Run | None


@dataclass(frozen=True)
class Row:
    """One set. Bits are per weight, speeds in millions of weights per second, all by the candidate's name."""

    name: str
    weights: int
    entropy: float
    bits: dict[str, float]
    decode: dict[str, float]
    encode: dict[str, float]


def main() -> None:
    """Measure and print, and write the Markdown file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--repeats", type=int, default=7, help="timed runs of each decoder (default: %(default)s)")
    parser.add_argument("--write", metavar="FILE", help="write the tables as Markdown")
    args = parser.parse_args()
    general, missing = general_compressors()
    nncodec = None
    try:
        nncodec = NNCodec()
    except Missing as error:
        missing.append(str(error))
    for line in missing:
        progress(line)
    rows = [measure_set(name, nncodec, general, args.repeats) for name in args.sets]
    for header, cells in (sizes(rows), speeds(rows)):
        print(format_table(header, cells), end="\n\n")
    if args.write:
        versions = [NNCodec.name] * (nncodec is not None) + [peer.version for peer in general]
        large = coding_large.measure_large()
        Path(args.write).write_text(markdown(rows, versions, args.repeats, large))


def measure_set(name: str, nncodec: NNCodec | None, general: Sequence[GeneralCompressor], repeats: int) -> Row:
    """One set with every codec. Raises ValueError where a codec does not give back what it was given."""
    progress(f"{name}: sizes")
    layers = list(tensors(name).values())
    weights = sum(layer.size for layer in layers)
    candidates = own_candidates(layers)
    if nncodec is not None:
        candidates.append(nncodec_candidate(nncodec, layers))
    candidates += [general_candidate(peer, layers) for peer in general]
    progress(f"{name}: speeds")
    decoders = {c.name: c.decode for c in candidates}
    encoders = {c.name: c.encode for c in candidates if c.encode is not None}
    return Row(
        name,
        weights,
        zero_order_entropy(layers),
        {c.name: 8.0 * c.size / weights for c in candidates if c.size is not None},
        million_weights_per_second(decoders, weights, repeats),
        million_weights_per_second(encoders, weights, ENCODE_RUNS),
    )


def own_candidates(layers: Sequence[Codes]) -> list[Candidate]:
    """opq; each layer is one call and one stream with its shape and checksums. And all of them as one file without a graph."""

    def encode() -> list[bytes]:
        return [codec.encode(layer, threads=1) for layer in layers]

    def decode() -> list[Codes]:
        return [codec.decode(stream, threads=1) for stream in streams]

    streams = encode()
    check("opq", decode(), layers)
    levels = max(int(np.abs(layer).max()) for layer in layers)
    file = CompressedModel(None, {str(i): QuantizedTensor(layer, 1.0, levels) for i, layer in enumerate(layers)}).to_bytes()
    return [
        Candidate("opq", sum(map(len, streams)), decode, encode),
        Candidate(FILE_ON_ONE, None, lambda: _core.Network(file, 1), None),
        Candidate(FILE_ON_TWO, None, lambda: _core.Network(file, 2), None),
    ]


def nncodec_candidate(nncodec: NNCodec, layers: Sequence[Codes]) -> Candidate:
    """NNCodec; making int32 of int8 is not timed."""
    integers = [layer.astype(np.int32) for layer in layers]
    shapes = [layer.shape for layer in layers]
    payloads = nncodec.encode(integers)
    check("NNCodec", nncodec.decode(payloads, shapes), layers)
    return Candidate(
        "NNCodec",
        nncodec.file_bytes(integers),
        lambda: nncodec.decode(payloads, shapes),
        lambda: nncodec.encode(integers),
    )


def general_candidate(peer: GeneralCompressor, layers: Sequence[Codes]) -> Candidate:
    """A general compressor; packing and unpacking the codes is not timed, and shapes are not in its bytes."""
    packed = [pack(layer) for layer in layers]
    streams = peer.encode(packed)
    check(peer.name, [np.frombuffer(b"".join(peer.decode(streams)), np.uint8)], [np.frombuffer(b"".join(packed), np.uint8)])
    return Candidate(peer.name, sum(map(len, streams)), lambda: peer.decode(streams), None)


def check(name: str, decoded: Sequence[npt.NDArray[Any]], layers: Sequence[npt.NDArray[Any]]) -> None:
    """Raises ValueError, naming the codec and the layer, for a difference."""
    for i, (got, wanted) in enumerate(zip(decoded, layers, strict=True)):
        if not np.array_equal(got, wanted):
            raise ValueError(f"{name}: layer {i} is not decoded to what was encoded")


def zero_order_entropy(layers: Sequence[Codes]) -> float:
    """Bits per weight of an ideal code that knows how often each integer occurs in each layer, its tables not counted."""
    bits = 0.0
    for layer in layers:
        counts = np.unique(layer, return_counts=True)[1]
        bits -= float(np.sum(counts * np.log2(counts / layer.size)))
    return bits / sum(layer.size for layer in layers)


def million_weights_per_second(runs: dict[str, Run], weights: int, repeats: int) -> dict[str, float]:
    """The median speed of each, timed in turns."""
    engines = [Engine(name, lambda run=run: run) for name, run in runs.items()]  # type: ignore[misc]
    return {timing.engine: weights / (1e3 * timing.median) for timing in measure(engines, 1, repeats)}


def sizes(rows: Sequence[Row]) -> Table:
    """Bits per weight."""
    peers = [name for name in rows[0].bits if name != "opq"]
    header = ["set", "M weights", "zero-order entropy", "opq", "opq vs entropy", *peers]
    header += ["opq vs NNCodec"] * ("NNCodec" in peers)
    cells = []
    for row in rows:
        own = row.bits["opq"]
        line = [row.name, f"{row.weights / 1e6:.1f}", f"{row.entropy:.4f}", f"{own:.4f}", percent(own / row.entropy)]
        line += [f"{row.bits[peer]:.4f}" for peer in peers]
        line += [percent(own / row.bits[peer]) for peer in peers if peer == "NNCodec"]
        cells.append(line)
    return header, cells


def speeds(rows: Sequence[Row]) -> Table:
    """Millions of weights per second."""
    peers = [name for name in rows[0].decode if name not in ("opq", FILE_ON_ONE, FILE_ON_TWO)]
    header = ["set", "decode: opq", "opq, 2 threads", "gain", *peers, *(f"encode: {name}" for name in rows[0].encode)]
    cells = []
    for row in rows:
        one, two = row.decode[FILE_ON_ONE], row.decode[FILE_ON_TWO]
        rest = [row.decode[peer] for peer in peers] + list(row.encode.values())
        cells.append(
            [row.name, f"{row.decode['opq']:.0f}", f"{two:.0f}", f"{two / one:.2f}x", *(f"{speed:.0f}" for speed in rest)]
        )
    return header, cells


def percent(ratio: float) -> str:
    return f"{100.0 * (ratio - 1.0):+.2f} %"


def markdown(rows: Sequence[Row], versions: Sequence[str], repeats: int, large: Sequence[str]) -> str:
    """The tables with all that is needed to judge them."""
    return f"""# Coding integer weights

Written by `python benchmarks/coding.py --write benchmarks/CODING.md` on {datetime.date.today().isoformat()}:
{cpu_name()}, {available_cores()} cores, instruction set {best_isa()}; opq {opq.__version__}, {", ".join(versions)},
Python {platform.python_version()}, NumPy {np.__version__}.

Weights of trained networks (`resnet`: open-nsfw, a ResNet-50 with half the filters; `mbv2`: MobileNetV2; `minilm`:
all-MiniLM-L6-v2) and independent Laplace numbers (`laplace`), pruned to 70, 80 or 90 % zeros, the survivors quantized to
integers of at most 3 or 7 in magnitude. `resnetU` has the same share of zeros in every layer. benchmarks/coding_tensors.py
has the rules.

## Bits per weight

Everything is counted: opq's streams with their shapes, tables and checksums; NNCodec's whole bitstream. The general
compressors get two codes a byte, all layers as one stream or each as its own, whichever is smaller. The zero-order entropy
per layer is an ideal, without tables. It is the limit for `laplace`, where a codec can only lose: "opq vs entropy" is there
what opq's own format costs.

{markdown_table(*sizes(rows))}
## Millions of weights per second

One core, but for "2 threads": all layers as one file, which the threads share, and the gain over the same file on one
thread. Medians of {repeats} runs of each decoder and {ENCODE_RUNS} of each encoder, in turns in one process. NNCodec gives
int32, which is its native type, opq int8; the general compressors' times are without unpacking the bytes to codes.

{markdown_table(*speeds(rows))}
## A network of 100 million weights

24 fully connected layers of 2048 x 2048 weights of the kind of `laplace`, as one `.opq` file
(benchmarks/coding_large.py). Loading decodes a few layers at a time, straight into the form in which the kernels hold it.

{markdown_table(coding_large.HEADER, [large])}"""


def markdown_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
