"""What the two ways to spend a budget of bytes have in common: everything is a function of one number, log lambda."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from opq.errors import BudgetError
from opq.layer_allocation import LayerAllocation
from opq.statistics import LayerStatistics

Array = npt.NDArray[np.float64]


class BytesProblem(ABC):
    """Layers that share a budget of bytes. Their bytes fall with log lambda; a rate model predicts them."""

    def __init__(self, layers: Sequence[LayerStatistics]) -> None:
        self.layers = layers
        self.counts = np.array([layer.count for layer in layers], dtype=np.float64)
        self._scale_bytes = np.array([2.0 * layer.channels if layer.channel_scale == "rms" else 0.0 for layer in layers])
        self._factor, self._constant = np.ones(len(layers)), np.zeros(len(layers))

    @abstractmethod
    def range(self) -> tuple[float, float]:
        """log lambda from where the codes are as fine as they get to where they are as coarse as they get."""

    @abstractmethod
    def rates(self, log_multiplier: float) -> Array:
        """Predicted bits per weight of every layer."""

    @abstractmethod
    def allocate(self, log_multiplier: float) -> list[LayerAllocation]:
        """The layers' allocations for one value of log lambda."""

    def _modelled_bytes(self, log_multiplier: float) -> Array:
        return np.asarray(self.counts * self.rates(log_multiplier) / 8.0 + self._scale_bytes)

    def layer_bytes(self, log_multiplier: float) -> Array:
        """Predicted bytes of every layer, codes at their entropy and 2 per channel scale, as corrected by `correct`."""
        return np.asarray(self._factor * self._modelled_bytes(log_multiplier) + self._constant)

    def predicted_bytes(self, log_multiplier: float) -> float:
        """Predicted bytes of all layers; they fall with log lambda."""
        return float(self.layer_bytes(log_multiplier).sum())

    def correct(self, log_multiplier: float, real_bytes: Sequence[float]) -> None:
        """Let `layer_bytes` be `real_bytes` at this log lambda.

        A factor is for what the weights and the coder differ from the model by. Where it would be far from 1, as for the tables
        of a layer of few codes, a constant takes the rest.
        """
        modelled, real = self._modelled_bytes(log_multiplier), np.asarray(real_bytes, dtype=np.float64)
        self._factor = np.clip(real / np.maximum(modelled, 1.0), 0.5, 2.0)
        self._constant = real - self._factor * modelled

    def solve(self, target: float) -> float:
        """The least log lambda with `predicted_bytes` of at most `target`. Raises BudgetError with the reachable range."""
        low, high = self.range()
        most, least = self.predicted_bytes(low), self.predicted_bytes(high)
        if not least <= target <= most:
            raise BudgetError(f"size {target:.0f} bytes is not reachable: expected {np.ceil(least):.0f} to {most:.0f}")
        for _ in range(60):  # where the bytes jump, the side that has fewer
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.predicted_bytes(middle) > target else (low, middle)
        return high

    def nearest(self, target: float) -> float:
        """The log lambda of `solve`, or the end of the range that comes closest."""
        low, high = self.range()
        if target >= self.predicted_bytes(low):
            return low
        return high if target <= self.predicted_bytes(high) else self.solve(target)
