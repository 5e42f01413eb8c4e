"""A layer whose mask and codebook are fixed while its weights are trained: what it computes with, and its gradient.

The trained weight w is a float32 number behind every code. With the step D, the levels K and the channel's scale s,

    w^ = sign(w) clip(rint(|w| / s / D), 1, K) * (D s)   where the mask is open,   else 0

in the float32 operations of `opq.quantize`: a survivor takes the nearest nonzero codeword, changes its sign with w and
never becomes zero. Its gradient is that of w^, straight through the rounding (Bengio, Leonard and Courville, *Estimating or
propagating gradients through stochastic neurons*, 2013), with two exceptions:

* None where the mask is closed: a pruned weight never comes back.
* A weight is clipped if its rounded level is above K. Then it only gets the gradients that bring it back, which are those with
  the sign of w, since training steps against the gradient. Those that lead further out would change nothing now and delay the
  return later. This is gradient descent projected onto the weights that the codebook reaches, as BinaryConnect clips its
  weights (Courbariaux, Bengio and David, 2015). PACT and LSQ (Choi et al., 2018; Esser et al., 2020) stop both directions,
  which is the derivative of clip; their ranges are learned and can follow a clipped value. Here the codebook is fixed, and a
  weight that once left its range would be lost to training.

At the lower end, |w| below D s / 2, the gradient passes both ways: through there a weight changes its sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.quantization import Float32, QuantizedTensor, along


@dataclass(frozen=True, eq=False)
class FixedLayer:
    """Mask and codebook of one layer.

    mask    bool, the weights' shape: where a weight survives
    step    the distance of two codewords, in units of |w| / scale[channel]; a float32 value
    levels  K, the number of codewords per sign, 1..127
    scale   float32 [channels], positive, or None: 1 for the whole layer
    axis    the channel axis that `scale` runs along, or None where scale is None

    Two are equal if all of this is, bit for bit. Raises ValueError for scales that are not positive and finite.
    """

    mask: npt.NDArray[np.bool_]
    step: float
    levels: int
    scale: Float32 | None = None
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not ((self.scale > 0.0) & np.isfinite(self.scale)).all():
            raise ValueError("a channel scale is not positive: its weights have no nearest codeword")

    @classmethod
    def of(cls, tensor: QuantizedTensor) -> FixedLayer:
        """Those of a quantized tensor: its mask is open where a code is not zero."""
        return cls(tensor.codes != 0, tensor.step, tensor.levels, tensor.scale, tensor.axis)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FixedLayer):
            return NotImplemented
        codebooks = [(layer.step, layer.levels, layer.axis, layer.scale is None) for layer in (self, other)]
        return (
            codebooks[0] == codebooks[1]
            and np.array_equal(self.mask, other.mask)
            and (self.scale is None or other.scale is None or np.array_equal(self.scale, other.scale))
        )

    __hash__ = None  # type: ignore[assignment]  # arrays can be changed

    @property
    def shape(self) -> tuple[int, ...]:
        """The weights' shape."""
        return self.mask.shape

    def quantize(self, weights: Float32) -> QuantizedTensor:
        """The codes of the weights, in this mask and codebook."""
        code = np.clip(self._rounded_levels(weights), 1.0, np.float32(self.levels)) * self.mask
        np.copysign(code, weights, out=code)
        return QuantizedTensor(code.astype(np.int8), self.step, self.levels, self.scale, self.axis)

    def passes(self, weights: Float32, gradient: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where the gradient with respect to w^ is the one with respect to w; elsewhere that is 0."""
        clipped = self._rounded_levels(weights) > self.levels
        outward = (gradient > 0.0) != (weights > 0.0)
        return np.asarray(self.mask & ~(clipped & outward))

    def _rounded_levels(self, weights: Float32) -> Float32:
        """rint(|w| / s / D), before it is clipped."""
        m = np.abs(weights)
        if self.scale is not None:
            m = m / self.scale.reshape(along(self.axis or 0, m.ndim))
        with np.errstate(over="ignore"):  # an infinite quotient is a large one
            return np.asarray(np.rint(m / np.float32(self.step)))
