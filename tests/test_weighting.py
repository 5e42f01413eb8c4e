"""What the layers' weights in the objective mean: the identities of the method."""

import numpy as np
import pytest

import opq
from opq.statistics import measure
from opq.weighting import nsr_exponent, units


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"l{i}": (10.0 ** rng.normal() * rng.laplace(size=(20, n))).astype(np.float32)
        for i, n in enumerate((3000, 20000, 9000))
    }


def allocate(**options):
    return opq.allocate(weights(), channel_scale="none", **options)


def test_one_is_global_magnitude_pruning():
    thresholds = [layer.threshold for layer in allocate(sparsity=0.7, bits=4, weighting="one").values()]
    np.testing.assert_allclose(thresholds, thresholds[0], rtol=1e-6)


def test_one_gives_one_step_at_high_rate():
    steps = [layer.step for layer in opq.allocate(
        {n: w / np.abs(w).mean() * (1 + i / 4) for i, (n, w) in enumerate(weights().items())},
        ratio=7, weighting="one", channel_scale="none",
    ).values()]  # fmt: skip
    np.testing.assert_allclose(steps, steps[0], rtol=0.02)


def test_rate_gives_every_layer_the_same_bits_and_sparsity():
    layers = list(allocate(ratio=10, weighting="rate").values())
    np.testing.assert_allclose([layer.bits for layer in layers], layers[0].bits, rtol=1e-9)
    np.testing.assert_allclose([layer.sparsity for layer in layers], layers[0].sparsity, rtol=1e-9)


@pytest.mark.parametrize("name", ["nsr", "one", "count", "rate"])
def test_a_mapping_of_the_same_weights_is_the_same(name):
    named = weights()
    layers = [measure(n, w, 0, "none", False) for n, w in named.items()]
    w = {
        "nsr": [1 / (x.count * x.mean**2) for x in layers],
        "one": [1.0] * 3,
        "count": [1 / x.count for x in layers],
        "rate": [1 / x.mean**2 for x in layers],
    }[name]
    mapping = dict(zip(named, w, strict=True))
    np.testing.assert_allclose(units(layers, mapping, {}), units(layers, name, {}), rtol=1e-12)
    assert np.allclose([x.bits for x in allocate(ratio=8, weighting=mapping).values()],
                       [x.bits for x in allocate(ratio=8, weighting=name).values()])  # fmt: skip


def test_a_layer_that_counts_more_gets_more_bits():
    plain, more = allocate(ratio=10), allocate(ratio=10, layer_weight={"l1": 4.0})
    assert more["l1"].bits > plain["l1"].bits
    assert more["l0"].bits < plain["l0"].bits


def test_skip_leaves_layers_out():
    assert list(allocate(ratio=10, skip=("l1",))) == ["l0", "l2"]
    result = opq.compress(weights(), ratio=1.55, skip=["l1"])
    assert result["l1"].dtype == np.float32


def test_the_exponent_falls_with_the_rate():
    assert [nsr_exponent(bits) for bits in (8, 2.5, 2.25, 2, 0.1)] == [1, 1, 0.875, 0.75, 0.75]


def test_no_layer_is_pruned_beyond_the_cap_unless_it_arrived_so():
    named = weights()
    for layer in opq.allocate(named, ratio=120, channel_scale="none").values():
        assert layer.sparsity <= 0.98 + 1e-6
    for w in named.values():
        w[np.abs(w) < np.quantile(np.abs(w), 0.99)] = 0
    assert max(layer.sparsity for layer in opq.allocate(named, ratio=300, channel_scale="none").values()) > 0.985


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weighting": "best"}, "'best' is unknown"),
        ({"weighting": {"l0": 1, "l1": 1}}, "no weight for layer 'l2'"),
        ({"weighting": {"l0": 1, "l1": -1, "l2": 1}}, "layer 'l1' is -1"),
        ({"layer_weight": {"x": 2}}, "'x'"),
        ({"layer_weight": {"l0": float("nan")}}, "layer 'l0' is nan"),
        ({"layer_weight": {"l0": 0}}, "layer 'l0' is 0"),
        ({"skip": ("x",)}, "'x'"),
    ],
)
@pytest.mark.parametrize("call", [opq.allocate, opq.compress])
def test_nonsense_is_refused_in_one_line(call, options, words):
    with pytest.raises(ValueError, match=words) as error:
        call(weights(), ratio=10, **options)
    assert "\n" not in str(error.value)
