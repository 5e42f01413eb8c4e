"""Joint allocation on the layers' own histograms."""

import numpy as np
import pytest

import opq


def layers(seed=0):
    """Anything but Laplace."""
    rng = np.random.default_rng(seed)
    shapes = {
        "normal": rng.normal(size=(50, 400)),
        "uniform": rng.uniform(-1, 1, size=(40, 300)),
        "student": rng.standard_t(4, (30, 900)),
    }
    return {name: w.astype(np.float32) for name, w in shapes.items()}


def entropy(codes):
    counts = np.unique(codes, return_counts=True)[1]
    return -float(counts @ np.log2(counts / codes.size)) / codes.size


@pytest.mark.parametrize("ratio", [6, 10, 20])
def test_predictions_are_what_comes_out(ratio):
    weights = layers()
    allocation = opq.allocate(weights, ratio=ratio, distribution="histogram", channel_scale="none")
    for name, w in weights.items():
        codes = opq.quantize(w, allocation[name])
        assert allocation[name].sparsity == pytest.approx(codes.sparsity, abs=0.005)
        assert allocation[name].bits == pytest.approx(entropy(codes.codes), rel=0.02)
        assert allocation[name].distortion == pytest.approx(((w - codes.dequantize()) ** 2).sum() / (w**2).sum(), rel=0.04)


def test_less_error_than_the_laplace_formula_in_files_of_one_size():
    weights = layers()

    def error(distribution):
        model = opq.compress(weights, ratio=11, distribution=distribution, channel_scale="none")
        return sum(((model[n].dequantize() - w) ** 2).sum() / (w**2).sum() for n, w in weights.items())

    assert error("histogram") < error("laplace")


def test_laplace_weights_get_about_what_the_formula_gives():
    rng = np.random.default_rng(0)
    weights = {f"l{i}": rng.laplace(size=(40, n)).astype(np.float32) for i, n in enumerate((500, 3000, 1500))}
    ours, formula = (opq.allocate(weights, ratio=10, distribution=d, channel_scale="none") for d in ("histogram", "laplace"))
    for name in weights:
        assert ours[name].bits == pytest.approx(formula[name].bits, abs=0.1)
        assert ours[name].distortion == pytest.approx(formula[name].distortion, rel=0.15)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_step_fits_better_than_the_one_of_the_histogram(bits):
    """Outliers, which a Laplace distribution has not, are neither clipped away nor made the measure of all."""
    weights = layers()
    weights["student"][0, :3] = (40, -60, 90)
    for name, layer in opq.allocate(weights, bits=bits, channel_scale="none").items():
        w = weights[name]
        m = np.abs(w.astype(np.float64))

        def error(step, m=m, levels=2 ** (bits - 1) - 1):
            return ((m - step * np.clip(np.rint(m / step), 1, levels)) ** 2).sum()

        best = min(error(step) for step in np.geomspace(0.02, 1, 400) * m.max() / (2 ** (bits - 1) - 1))
        assert error(layer.step) <= 1.02 * best
        assert layer.distortion == pytest.approx(error(layer.step) / (m**2).sum(), rel=0.15)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": 9, "distribution": "normal"}, "'normal' is unknown"),
        ({"ratio": 9, "sparsity": 0.5, "distribution": "histogram"}, "size or ratio"),
    ],
)
@pytest.mark.parametrize("call", [opq.allocate, opq.compress])
def test_refused_in_one_line(call, options, words):
    with pytest.raises(ValueError, match=words) as error:
        call(layers(), **options)
    assert "\n" not in str(error.value)
