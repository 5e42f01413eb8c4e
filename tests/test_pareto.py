"""The sweep over all budgets: predictions, encoded files, and the chosen one."""

import json

import numpy as np
import pytest
from commands import failure, run_command

import opq
from opq.pareto import file_point, pareto_front
from opq.quantization import QuantizedTensor


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    shapes = {"first": (32, 81), "conv": (64, 32, 3, 3), "wide": (128, 576), "last": (20, 128)}
    return {name: rng.laplace(size=shape).astype(np.float32) * (i + 1) for i, (name, shape) in enumerate(shapes.items())}


@pytest.fixture(scope="module")
def front(weights):
    return pareto_front(weights, ratio=10, files=4)


def test_predictions_run_from_the_largest_file_to_the_smallest(front):
    sizes, errors, zeros = (np.array([getattr(p, key) for p in front.predicted]) for key in ("bytes", "error", "sparsity"))
    assert len(front.predicted) == 40
    assert (np.diff(sizes) <= 0).all()
    assert (np.diff(errors) >= 0).all()
    assert sizes[-1] < sizes[0] / 10
    assert errors[0] < 1e-3 < 0.5 < errors[-1]
    assert zeros[0] < 0.1 < 0.9 < zeros[-1]


def test_predicted_sizes_are_evenly_spaced_in_the_logarithm(front):
    steps = -np.diff(np.log([point.bytes for point in front.predicted]))
    assert steps.max() < 1.5 * steps.mean()


def test_ratios_are_dense_bytes_over_bytes(front, weights):
    assert front.dense_bytes == 4 * sum(array.size for array in weights.values())
    for point in (*front.predicted, *front.real, front.chosen):
        assert point.ratio == front.dense_bytes / point.bytes


def test_the_chosen_point_is_the_file_of_compress(front, weights):
    result = opq.compress(weights, ratio=10)
    layers = result.report["layers"]
    assert front.chosen.bytes == len(result.to_bytes())
    assert front.chosen.error == pytest.approx(np.mean([layer["real_error"] for layer in layers]))
    assert front.chosen.sparsity == pytest.approx(result.report["totals"]["sparsity"])
    assert file_point(result, front.dense_bytes) == front.chosen


def test_the_error_of_a_file_is_that_of_its_tensors(weights):
    result = opq.compress(weights, sparsity=0.5, bits=5)
    errors = []
    for name, tensor in result.items():
        assert isinstance(tensor, QuantizedTensor)
        w = weights[name] / tensor.scale.reshape(-1, *(1,) * (tensor.codes.ndim - 1))
        errors.append(np.sum((w - tensor.codes * tensor.step) ** 2) / np.sum(w**2))
    assert file_point(result, 1).error == pytest.approx(np.mean(errors), rel=1e-3)  # the report rounds to four digits


def test_real_files_lie_inside_the_sweep_and_get_smaller_and_coarser(front):
    assert len(front.real) == 4
    sizes, errors = ([getattr(point, key) for point in front.real] for key in ("bytes", "error"))
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert sizes[-1] < front.chosen.bytes < sizes[0]


def test_nothing_is_encoded_or_chosen_unasked(weights):
    front = pareto_front(weights, files=0)
    assert front.real == ()
    assert front.chosen is None


def test_the_same_magnitude_everywhere_has_no_error_at_any_size():
    front = pareto_front({"signs": np.sign(np.random.default_rng(0).normal(size=(64, 64))).astype(np.float32)}, files=2)
    assert {point.error for point in (*front.predicted, *front.real)} == {0.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"ratio": 1e6}, "cannot be reached"), ({"ratio": 4, "size": "1MB"}, "one budget"), ({"size": "much"}, "not a size")],
)
def test_impossible_budgets(weights, options, words):
    with pytest.raises(opq.BudgetError, match=words):
        pareto_front(weights, **options)


def test_nothing_to_compress():
    with pytest.raises(opq.UnsupportedError, match="nothing to compress"):
        pareto_front({"bias": np.ones(3, np.float32)})


@pytest.fixture(scope="module")
def source(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("pareto") / "weights.npz"
    np.savez(path, **weights)
    return path


def test_command_writes_a_picture_and_prints_the_files(source, capsys):
    pytest.importorskip("matplotlib")
    picture = source.with_name("curve.png")
    written = run_command(capsys, "pareto", source, "-o", picture, "--size", "50kB", "--files", 3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert written.out.count("real") == 3
    assert "chosen" in written.out
    assert "wrote" in written.err


def test_command_as_json_needs_no_picture(source, front, capsys):
    data = json.loads(run_command(capsys, "pareto", source, "--ratio", 10, "--files", 4, "--json").out)
    assert data["chosen"]["bytes"] == front.chosen.bytes
    assert [point["bytes"] for point in data["real"]] == [point.bytes for point in front.real]
    assert len(data["predicted"]) == len(front.predicted)
    assert "predicted" in run_command(capsys, "pareto", source, "--files", 0).out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "curve.gif"], "'.gif' is unknown"),
        (["--files", "-1"], "--files"),
        (["--ratio", "1e6"], "cannot be reached"),
    ],
)
def test_command_fails_with_one_line(source, capsys, options, words):
    assert words in failure(capsys, "pareto", source, *options)
