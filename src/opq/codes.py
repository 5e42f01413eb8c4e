"""From weights to codes, as the allocation says, and what the codes lose.

The rules that every implementation shares to the bit:

* magnitudes m = |w| / scale[channel], threshold and step are float32; m > threshold survives (with threshold 0 exactly the
  nonzeros do);
* code = sign(w) * clip(rint(m / step), 1, K), one float32 division, ties to even: a survivor never becomes zero and a
  pruned weight never comes back.

These are the nearest codes. `opq.rate_aware` moves some of them by a level where that saves more bits than it costs error.
"""

from __future__ import annotations

from typing import get_args

import numpy.typing as npt

from opq import _core
from opq.code_bits import group_size
from opq.layer_allocation import LayerAllocation
from opq.quantization import Float32, QuantizedTensor, Rounding
from opq.rate_aware import rate_aware
from opq.threads import checked_threads
from opq.weights import as_rows, as_weights, channel_scales


def quantize(weights: npt.ArrayLike, layer: LayerAllocation, *, rounding: Rounding = "nearest") -> QuantizedTensor:
    """Prune and quantize one layer as `opq.allocate` decided.

    weights   the array that was given to `allocate` under the layer's name
    rounding  "nearest", or "rate": codes with the least squared error + layer.multiplier * bits, each at most one level away
              from the nearest. They are the nearest ones where the multiplier is 0, as it is unless a size was asked for.

    Raises ValueError for another shape or type, and for an unknown rounding.
    """
    if rounding not in get_args(Rounding):
        raise ValueError(f'rounding {rounding!r} is unknown: expected "nearest" or "rate"')
    array = as_weights(layer.name, weights)
    if array.shape != layer.shape:
        raise ValueError(f"layer {layer.name!r}: weights have shape {array.shape}, the allocation was made for {layer.shape}")
    scale = channel_scales(array, layer.axis) if layer.channel_scale == "rms" else None
    rows = as_rows(array, scale, layer.axis)
    codes = _core.nearest_codes(*rows, layer.threshold, layer.step, layer.levels, checked_threads(None))
    if rounding == "rate":
        codes = rate_aware(codes, rows, group_size(array.shape), layer.step, layer.levels, layer.multiplier)
    return QuantizedTensor(codes.reshape(array.shape), layer.step, layer.levels, scale, None if scale is None else layer.axis)


def relative_error(weights: Float32, tensor: QuantizedTensor) -> float:
    """sum (m - step |code|)^2 / sum m^2 over the magnitudes m of the weights that the tensor was made of; 0 for zeros alone."""
    rows = as_rows(weights, tensor.scale, tensor.axis)
    codes = tensor.codes.reshape(rows.weights.shape)
    error, energy = _core.squared_error(*rows, codes, tensor.step, checked_threads(None))
    return error / energy if energy else 0.0


def estimated_bytes(tensor: QuantizedTensor) -> float:
    """About the bytes of a tensor in a file, of its codes and 2 per channel scale, for a small part of the time of encoding."""
    scales = 0 if tensor.scale is None else tensor.scale.size
    return _core.estimate_codes(tensor.codes, checked_threads(None)) + 2.0 * scales
