"""`opq inspect --sections`: what every byte of a file is for."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

import opq
from opq.reference.grouped.anatomy import stream_parts
from opq.reference.grouped.stream import encode_grouped, layout
from opq.sections import code_bytes, file_parts

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["packed", "rans0", "grouped", "network"])
def test_the_parts_are_the_whole_file(name):
    model = opq.load(GOLDEN / f"{name}.opq")
    codes = code_bytes(model)
    parts = file_parts(model, codes)
    assert sum(parts.values()) == pytest.approx((GOLDEN / f"{name}.opq").stat().st_size)
    assert min(parts.values()) >= -0.5  # framing: the last state of rANS may be worth a few bits
    for tensor, layer in codes.items():
        entry = model.entries[tensor]
        assert sum(astuple(layer)) - layer.entropy == pytest.approx(entry.bytes - entry.scale_bytes)
    if name == "packed":
        assert parts["tables"] == 0
        assert parts["side information"] == 0


@pytest.mark.parametrize("shape", [(64, 32, 3, 3), (200, 304)])
def test_a_grouped_stream_without_structure(shape):
    """Independent codes: masks, magnitudes and signs take their entropies, within the little that tables and rounding cost."""
    rng = np.random.default_rng(0)
    magnitudes = rng.choice(4, size=shape, p=(0.7, 0.15, 0.1, 0.05))
    codes = (magnitudes * rng.choice((-1, 1), size=shape)).astype(np.int8)
    stream = encode_grouped(codes.ravel(), *layout(shape))
    parts = stream_parts(stream, codes.ravel())
    assert len(stream) - 40 < sum(parts.values()) <= len(stream) + 1
    nonzero = np.count_nonzero(codes)
    assert parts["signs"] * 8 == pytest.approx(nonzero, rel=0.002)
    assert parts["masks"] * 8 == pytest.approx(_entropy(codes != 0), rel=0.005)
    assert parts["magnitudes"] * 8 == pytest.approx(_entropy(magnitudes[codes != 0]), rel=0.005)


def test_side_information_is_what_rows_of_different_density_take():
    rng = np.random.default_rng(0)
    alike = (rng.random((256, 256)) < 0.2).astype(np.int8)
    different = (rng.random((256, 256)) < rng.choice((0.02, 0.4), size=(256, 1))).astype(np.int8)
    scales = [
        stream_parts(encode_grouped(c.ravel(), *layout(c.shape)), c.ravel())["side information"] for c in (alike, different)
    ]
    assert scales[0] == 0
    assert 256 / 8 <= scales[1] < 128


def _entropy(values):
    counts = np.unique(values, return_counts=True)[1]
    return -float(counts @ np.log2(counts / counts.sum()))
