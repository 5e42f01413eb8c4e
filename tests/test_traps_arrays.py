"""Traps of an allocation. Arrays of every type, memory order, and order of their names; threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import BUDGETS, laplace_layers

import opq


def gappy(w):
    """The same values with gaps between them, backwards in memory."""
    wide = np.zeros((w.shape[0], 2 * w.shape[1]), dtype=w.dtype)
    view = wide[::-1, ::-2]
    view[:] = w
    return view


def unaligned(w):
    """The same values at addresses that no float32 may have."""
    memory = np.zeros(w.nbytes + 1, dtype=np.uint8)
    view = memory[1:].view(np.float32).reshape(w.shape)
    view[:] = w
    return view


SAME_NUMBERS = {
    "double": lambda w: w.astype(np.float64),
    "half": lambda w: w.astype(np.float16),
    "big-endian double": lambda w: w.astype(">f8"),
    "big-endian half": lambda w: w.astype(">f2"),
    "Fortran order": np.asfortranarray,
    "gaps": gappy,
    "unaligned": unaligned,
}


@pytest.mark.parametrize(
    "budget", [b for name, b in BUDGETS.items() if name != "ratio"], ids=[n for n in BUDGETS if n != "ratio"]
)
def test_type_and_memory_order_change_nothing(budget):
    """test_allocation.py holds this for a ratio."""
    weights = laplace_layers()
    expected = opq.allocate(weights, **budget)
    codes = {name: opq.quantize(w, expected[name]).codes for name, w in weights.items()}
    for kind, convert in SAME_NUMBERS.items():
        variant = {name: convert(w) for name, w in weights.items()}
        found = opq.allocate(variant, **budget)
        for name, w in variant.items():
            assert vars(found[name]) == vars(expected[name]), kind
            np.testing.assert_array_equal(opq.quantize(w, found[name]).codes, codes[name])


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
@given(order=st.permutations(range(4)))
@settings(max_examples=4)
def test_the_order_of_the_layers_changes_nothing(budget, order):
    weights = list(laplace_layers((4000, 40000, 9000, 3000)).items())
    expected = opq.allocate(dict(weights), **budget)
    shuffled = [weights[i] for i in order]
    found = opq.allocate(dict(shuffled), **budget)
    assert list(found) == [name for name, _ in shuffled]
    for name in expected:
        assert found[name].step == pytest.approx(expected[name].step, rel=1e-5)
        assert found[name].threshold == pytest.approx(expected[name].threshold, rel=1e-5)
        assert found[name].levels == expected[name].levels
        assert found[name].distortion == pytest.approx(expected[name].distortion, rel=1e-4)


def test_subnormal_half_precision_weights():
    """float16's smallest numbers: sums in that type would vanish or stay where they are."""
    w = (np.random.default_rng(0).laplace(size=(20, 500)) * 2.0**-22).astype(np.float16)
    layer = opq.allocate({"w": w}, sparsity=0.3, bits=3, channel_scale="none")["w"]
    tensor = opq.quantize(w, layer)
    error = np.square(tensor.dequantize() - w.astype(np.float64)).sum() / np.square(w.astype(np.float64)).sum()
    assert 0 < layer.step < 2.0**-20
    assert error < 0.1


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_negative_zeros_are_zeros(budget):
    weights = laplace_layers()
    for w in weights.values():
        w.reshape(-1)[::3] = 0.0
    negative = {name: np.where(w == 0.0, np.float32(-0.0), w) for name, w in weights.items()}
    a, b = opq.allocate(weights, **budget), opq.allocate(negative, **budget)
    for name, w in negative.items():
        assert vars(a[name]) == vars(b[name])
        np.testing.assert_array_equal(opq.quantize(w, b[name]).codes, opq.quantize(weights[name], a[name]).codes)


def test_files_do_not_depend_on_threads(monkeypatch):
    """`compress` encodes on all cores that it may run on."""
    weights = laplace_layers((300_000, 40_000))
    files = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("opq.threads.available_cores", lambda cores=cores: cores)
        files.append(opq.compress(weights, ratio=10).to_bytes())
    assert files[0] == files[1] == files[2]
