"""Traps of an allocation. More is never worse."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import laplace_layers

import opq


@given(st.floats(0.0, 0.97), st.floats(0.001, 0.2), st.integers(2, 7), st.sampled_from(["nsr", "one"]))
@settings(max_examples=15)
def test_more_zeros_or_fewer_bits_are_never_predicted_to_be_better(sparsity, more, bits, weighting):
    weights = laplace_layers()

    def allocate(sparsity, bits):
        return opq.allocate(weights, sparsity=sparsity, bits=bits, weighting=weighting, channel_scale="none")

    start, zeros, finer = allocate(sparsity, bits), allocate(min(1.0, sparsity + more), bits), allocate(sparsity, bits + 1)
    for name in weights:
        assert zeros[name].threshold >= start[name].threshold
        assert zeros[name].sparsity >= start[name].sparsity
        assert finer[name].threshold == start[name].threshold
        assert finer[name].distortion <= start[name].distortion * (1 + 1e-3)
        assert finer[name].bits >= start[name].bits * (1 - 1e-9)


@given(st.floats(2.0, 7.5), st.floats(0.01, 2.0))
@settings(max_examples=15)
def test_more_mean_bits_are_never_predicted_to_be_worse(mean_bits, more):
    """A single layer may lose bits to a larger one. The sum that is minimised may not grow."""
    weights = laplace_layers((4000, 40000, 9000, 3000))

    def error(mean_bits):
        found = opq.allocate(weights, sparsity=0.5, mean_bits=mean_bits, weighting="one", channel_scale="none")
        return sum(found[name].distortion * np.square(w, dtype=np.float64).sum() for name, w in weights.items())

    assert error(min(8.0, mean_bits + more)) <= error(mean_bits) * (1 + 1e-3)


@given(st.floats(1.0, 1.5))
@settings(max_examples=15)
def test_a_smaller_size_after_a_sparsity_is_never_predicted_to_be_better(factor):
    weights = laplace_layers()
    a, b = (opq.allocate(weights, sparsity=0.6, ratio=10 * f, channel_scale="none") for f in (1.0, factor))
    for name in weights:
        assert b[name].threshold == a[name].threshold
        assert b[name].step >= a[name].step * (1 - 1e-6)
        assert b[name].bits <= a[name].bits * (1 + 1e-6)
