"""The arithmetic of benchmarks/RESULTS.md: ratios of medians, and differences of outputs."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("PIL")

from benchmarks.network_accuracy import difference
from benchmarks.network_cases import Case, Prepared
from benchmarks.network_tables import Result, latency_lines, markdown
from opq.benchmark import Timing


def timing(engine, median):
    return Timing(engine, 1.0, 1.0, median, median, 2 * median, 2 * median, 3, None)


def result(missing):
    case = Case("resnet-50", 0.9, 1, {"bits": 4})
    prepared = Prepared(0.9, 100_000_000, 2_000_000, {"int8": 5_000_000}, np.zeros((0,), np.float32), None)
    medians = {
        "opq int8": (10.0, 5.0), "ONNX Runtime float32": (40.0, 30.0), "MNN float32": (50.0, 20.0),
        "ONNX Runtime int8": (20.0, 15.0),
    }  # fmt: skip
    timings = {n: {engine: timing(engine, row[i]) for engine, row in medians.items()} for i, n in enumerate((1, 2))}
    peaks = {"opq int8": 7_000_000, "ONNX Runtime float32": None, "MNN float32": None, "ONNX Runtime int8": None}
    trips = {1: [81.0, None], 2: [80.6, 349.7]}
    return Result("zeros-90", case, prepared, timings, trips, peaks, [difference("opq int8", *outputs(), case)], missing)


def outputs():
    return np.float32([[1.0, 0.0], [0.0, 1.0]]), np.float32([[0.0, 1.0], [0.0, 1.0]])


def test_ratios():
    lines = list(latency_lines(result({})))
    assert lines[0].endswith("; cores 81 and 350 ns apart before and after the runs on 2 threads")
    [own] = [line for line in lines if line.startswith("| opq int8")]
    # The fastest dense engine is another one on two threads.
    cells = ["opq int8", "10.00 (20.00)", "5.00 (10.00)", "2.00", "4.00x / 4.00x", "2.00x / 3.00x", "7.0", "5.0"]
    assert own == f"| {' | '.join(cells)} |"
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_differences():
    y, z = outputs()
    d = difference("opq int8", y, z, Case("resnet-50", 0.9, 1, {"bits": 4}))
    p = 1 / (1 + np.exp(-1.0))
    assert d.error == pytest.approx(1.0)  # sqrt(2) over sqrt(2)
    assert d.divergence == pytest.approx((2 * p - 1) / 2)  # of the first input: p log(p / (1 - p)) + (1 - p) log((1 - p) / p)
    assert d.largest == pytest.approx(2 * p - 1)
    assert (d.agreement, d.inputs, d.top_1) == (0.5, 2, None)
    assert difference("opq int8", y, z, Case("resnet-50", 0.9, 1, {"bits": 4}), np.array([0, 0])).top_1 == (0.5, 0.0)
    assert difference("opq int8", y, z, Case("open-nsfw", 0.9, 1, {"bits": 4})).largest == pytest.approx(
        1.0
    )  # probabilities already


def test_the_file_names_what_is_left_out():
    text = markdown([result({"OpenVINO float32": "not installed"})], 3, "noise", ["--deepsparse", "/somewhere/ds/bin/python"])
    assert "* Left out for ResNet-50: OpenVINO float32 (not installed)." in text
    assert "## 90 % zeros, batch 1" in text
    assert "1 of 2 | - |" in text
    assert "somewhere" not in text
