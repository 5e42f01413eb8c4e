"""How much a network's outputs change when one layer's weights do: measured on noise, so that no data is needed.

The weights of a layer get noise of 1 % of their energy; the squared change of the outputs over images of noise, per unit of
their variance, is the layer's sensitivity. It tells what the weights alone cannot: which layers the others make up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.errors import UnsupportedError
from opq.model import Model
from opq.session import Session

_IMAGES, _NOISE = 4, 0.01


def sensitivities(model: Model, layers: Sequence[str]) -> dict[str, float]:
    """The sensitivity of each layer, by the name of its weights. Raises UnsupportedError where an input's size is not known."""
    rng = np.random.default_rng(0)
    inputs = {}
    for info in model.graph.inputs:
        shape = [d if isinstance(d, int) else None for d in info.shape]
        if info.dtype != "float32" or None in shape[1:]:
            raise UnsupportedError(f"input {info.name!r}: sensitivities are measured on float32 images of a fixed size")
        batch = shape[0] or _IMAGES if shape else None
        inputs[info.name] = rng.normal(size=[d for d in (batch, *shape[1:]) if d is not None]).astype(np.float32)
    before = _outputs(model, inputs)
    variance = float(np.var(before)) or 1.0
    result = {}
    for name in layers:
        weights = model.tensors[name]
        size = float(np.sqrt(np.mean(np.square(weights, dtype=np.float64))))
        noise = rng.normal(size=weights.shape) * (size * np.sqrt(_NOISE))
        changed = replace(model, tensors={**model.tensors, name: (weights + noise).astype(np.float32)})
        change = float(np.mean((_outputs(changed, inputs) - before) ** 2)) / variance / _NOISE
        result[name] = max(change, 1e-6)
    return result


def _outputs(model: Model, inputs: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    results = Session(model).run(None, inputs)
    return np.concatenate([np.asarray(result, dtype=np.float64).ravel() for result in results])
