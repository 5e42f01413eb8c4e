"""The layers' weights w_i in the objective sum_i w_i N_i E[(w - w^)^2].

All that an allocation needs of them are the units u_i = 1 / (w_i b_i^2): a bit of layer i is worth lambda u_i of its squared
error in b_i^2, and its threshold is b_i sqrt(mu u_i).

    nsr     w = 1 / (N^e b^2)   u = N^e      noise-to-signal ratios: a layer's scale does not matter (the default)
    one     w = 1               u = 1 / b^2  plain squared error: one threshold for all layers
    count   w = 1 / N           u = N / b^2  mean squared errors
    rate    w = 1 / b^2         u = 1        every layer has the same sparsity and rate

The exponent e of nsr is 1, and falls to 3/4 where fewer than 2.5 bits per weight are left: there, small layers would be pruned
too much otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from opq.statistics import LayerStatistics

Name = Literal["nsr", "one", "count", "rate"]
Weighting = Name | Mapping[str, float]

_Array = npt.NDArray[np.float64]


def check_weighting(weighting: Weighting, layer_weight: Mapping[str, float], names: Sequence[str]) -> None:
    """Raises ValueError for an unknown word or layer, a layer without a weight, or a weight that is not positive and finite."""
    if isinstance(weighting, str):
        if weighting not in get_args(Name):
            known = ", ".join(map(repr, get_args(Name)))
            raise ValueError(f"weighting {weighting!r} is unknown: expected {known} or a weight for every layer")
    else:
        missing = next((name for name in names if name not in weighting), None)
        if missing is not None:
            raise ValueError(f"weighting has no weight for layer {missing!r}")
        _check_positive("weighting", weighting)
    unknown = next((name for name in layer_weight if name not in names), None)
    if unknown is not None:
        raise ValueError(f"layer_weight names {unknown!r}, which is no layer that is compressed")
    _check_positive("layer_weight", layer_weight)


def _check_positive(what: str, weights: Mapping[str, float]) -> None:
    for name, value in weights.items():
        if not (isinstance(value, (int, float, np.integer, np.floating)) and 0.0 < float(value) < float("inf")):
            raise ValueError(f"{what} of layer {name!r} is {value!r}: expected a finite number above 0")


def units(
    layers: Sequence[LayerStatistics], weighting: Weighting, layer_weight: Mapping[str, float], bits: float = np.inf
) -> _Array:
    """u_i of every layer. `bits` per weight is what the budget leaves; layers without a distribution have the scale 1."""
    counts = np.array([layer.count for layer in layers], dtype=np.float64)
    b = np.array([layer.mean or 1.0 for layer in layers])
    if not isinstance(weighting, str):
        result = 1.0 / (np.array([float(weighting[layer.name]) for layer in layers]) * b**2)
    elif weighting == "nsr":
        result = counts ** nsr_exponent(bits)
    else:
        result = {"one": 1.0 / b**2, "count": counts / b**2, "rate": np.ones(len(layers))}[weighting]
    result = result / np.array([float(layer_weight.get(layer.name, 1.0)) for layer in layers])
    # Far from 0 and infinity: only ratios matter.
    return np.asarray(np.clip(result / np.exp(np.mean(np.log(result))), 1e-30, 1e30))


def nsr_exponent(bits: float) -> float:
    """1 from 2.5 bits per weight on, 3/4 up to 2, linear between."""
    return float(np.clip(0.75 + 0.5 * (bits - 2.0), 0.75, 1.0))
