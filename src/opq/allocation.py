"""OPQ's allocation: from a budget to one threshold and one step per layer, in closed form.

Each layer i has N_i weights with Laplace scale b_i and a weight w_i in the objective sum_i w_i N_i E[(w - w^)^2].
The default w_i = 1 / (N_i b_i^2) makes it the sum of the layers' noise-to-signal ratios, which does not change when a
layer is rescaled. Two forms of budget (docs/method.md derives both):

* joint (a size): minimise error + lambda * bits. With l_i = lambda / (w_i b_i^2) = lambda N_i, threshold and step of every
  layer come from one table of the unit Laplacian, and one number, lambda, meets the budget.
* stage-wise (a sparsity or a share of multiply-adds, then bits or bytes), the two steps of the paper: thresholds
  t_i = sqrt(mu / w_i), which is optimal for any density of weights, so mu is solved on the measured distribution; then the step
  that minimises the error of K levels, or error + lambda * bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from opq.budget import Size, parse_budget
from opq.layer_allocation import Allocation
from opq.problem import Distribution, bytes_problem, check_distribution, costs_of, fixed_codebooks, needs_histogram
from opq.quantization import ChannelScale
from opq.statistics import measure
from opq.weighting import Weighting, check_weighting
from opq.weights import as_weights


def allocate(
    weights: Mapping[str, npt.ArrayLike],
    *,
    sparsity: float | None = None,
    macs: float | None = None,
    bits: int | None = None,
    mean_bits: float | None = None,
    size: Size | None = None,
    ratio: float | None = None,
    pixels: Mapping[str, float] | None = None,
    weighting: Weighting = "nsr",
    distribution: Distribution = "auto",
    layer_weight: Mapping[str, float] | None = None,
    skip: Collection[str] = (),
    channel_scale: Literal["auto", "rms", "none"] = "auto",
    axis: int = 0,
) -> Allocation:
    """Decide threshold, step and number of levels of every layer from its weights alone.

    weights        name -> float array of any shape, memory order and floating-point type; `axis` is its output-channel axis

    One of these says how finely the codes are coded:

    size           predicted bytes of the codes and channel scales, a number or e.g. "2MB"
    ratio          4 bytes per weight over that size
    bits           K = 2^(bits - 1) - 1 levels for every layer
    mean_bits      the same, 2 to 8 bits per layer, chosen so that their mean over the survivors is this

    and at most one of these what survives; without one, size and ratio decide it jointly with the steps, and bits and mean_bits
    keep exactly the weights that are not zero:

    sparsity       a share of zeros over all layers together
    macs           a share of the multiply-adds to keep; `pixels` has the multiply-adds per weight of each layer by name (1
                   where it is not named): its output's height times width

    weighting      the layers' weights w_i in the objective sum_i w_i N_i E[(w - w^)^2]: "nsr", "one", "count", "rate"
                   (`opq.weighting`), or w_i by name
    distribution   what thresholds and steps are optimal for: "laplace", or "histogram", each layer's own in 4096 bins. "auto"
                   is the first for size and ratio, where nothing is lost by it, and the second for bits and mean_bits. With
                   the second, sizes move in steps: few layers may stay some way below the target
    layer_weight   factors for w_i by name
    skip           names of layers to leave out
    channel_scale  "rms" divides each channel by its root mean square (rounded to bfloat16, which two bytes hold) and keeps that
                   as the channel's scale; "none" does not; "auto" is "rms"

    Raises BudgetError for a budget that is contradictory, out of range or not reachable, and ValueError, naming the layer, for
    weights that are not finite floating-point numbers, and for unknown names and layer weights that are not positive.
    """
    unknown = next((name for name in skip if name not in weights), None)
    if unknown is not None:
        raise ValueError(f"skip names {unknown!r}, which is no layer")
    weights = {name: array for name, array in weights.items() if name not in skip}
    if not weights:
        raise ValueError("no weights were given to allocate")
    if channel_scale not in ("auto", "rms", "none"):
        raise ValueError(f'channel_scale {channel_scale!r} is unknown: expected "auto", "rms" or "none"')
    factors = {} if layer_weight is None else layer_weight
    check_weighting(weighting, factors, list(weights))
    total = sum(int(np.size(array)) for array in weights.values())
    budget = parse_budget(
        4 * total, sparsity=sparsity, macs=macs, bits=bits, mean_bits=mean_bits, size=size, ratio=ratio
    )  # fmt: skip
    check_distribution(distribution, budget)
    scaling: ChannelScale = "none" if channel_scale == "none" else "rms"
    layers = []
    for name, array in weights.items():
        values = as_weights(name, array)
        if not -values.ndim <= axis < values.ndim:
            raise ValueError(f"layer {name!r}: axis {axis} is out of range for shape {values.shape}")
        layers.append(measure(name, values, axis % values.ndim, scaling, needs_histogram(distribution, budget)))
    costs = costs_of(layers, budget, {} if pixels is None else pixels)
    if budget.bytes is None:
        return Allocation(fixed_codebooks(layers, budget, weighting, factors, costs, distribution))
    problem = bytes_problem(layers, budget, weighting, factors, costs, distribution)
    return Allocation(problem.allocate(problem.solve(budget.bytes)))
