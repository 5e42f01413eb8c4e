"""What the allocation decides for a layer, and the layers for which there is nothing to decide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from opq import laplace
from opq.quantization import ChannelScale
from opq.statistics import LayerStatistics


@dataclass(frozen=True)
class LayerAllocation:
    """What `opq.allocate` decided for one layer. Threshold and step are in units of |w| / scale[channel].

    sparsity     predicted share of zeros
    distortion   predicted squared error over squared weights (noise-to-signal ratio), in the same units
    bits         predicted entropy of the codes, bits per weight
    multiplier   lambda: the squared error, in steps^2, that a bit is worth; 0 where no size was asked for
    """

    name: str
    shape: tuple[int, ...]
    axis: int
    channel_scale: ChannelScale
    threshold: float
    step: float
    levels: int
    sparsity: float
    distortion: float
    bits: float
    multiplier: float = 0.0

    @property
    def predicted_bytes(self) -> float:
        """Bytes of the codes at their predicted entropy, and 2 per channel scale."""
        scales = self.shape[self.axis] if self.channel_scale == "rms" else 0
        return self.bits * math.prod(self.shape) / 8.0 + 2.0 * scales


class Allocation(Mapping[str, LayerAllocation]):
    """The layers' allocations by name, in the order they were given."""

    def __init__(self, layers: Sequence[LayerAllocation]) -> None:
        self._layers = {layer.name: layer for layer in layers}

    def __getitem__(self, name: str) -> LayerAllocation:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"Allocation({len(self)} layers, sparsity {self.sparsity:.3f}, {self.bits:.2f} bits per weight)"

    def _mean(self, attribute: Literal["sparsity", "bits"]) -> float:
        sizes = [float(np.prod(layer.shape)) for layer in self.values()]
        return float(np.average([getattr(layer, attribute) for layer in self.values()], weights=sizes))

    @property
    def sparsity(self) -> float:
        """Predicted share of zeros over all layers."""
        return self._mean("sparsity")

    @property
    def bits(self) -> float:
        """Predicted entropy, bits per weight over all layers."""
        return self._mean("bits")


def is_constant(layer: LayerStatistics) -> bool:
    """All nonzero magnitudes equal (up to the rounding of a channel's division): one level codes them exactly."""
    return layer.nonzeros > 0 and layer.maximum - layer.minimum <= 4e-7 * layer.maximum


def trivial(layer: LayerStatistics, threshold: float = 0.0) -> LayerAllocation:
    """A layer of zeros, one whose nonzero magnitudes are all equal, or one that is pruned as a whole."""
    if layer.nonzeros == 0:
        return decided(layer, 0.0, 1.0, 1, 1.0, 0.0, 0.0)
    if threshold >= layer.maximum:
        return decided(layer, threshold, layer.maximum, 1, 1.0, 1.0, 0.0)
    density = layer.nonzeros / layer.count
    bits = float(laplace.binary_entropy(density)) + density
    return decided(layer, 0.0, layer.maximum, 1, 1.0 - density, 0.0, bits)


def decided(
    layer: LayerStatistics, threshold: float, step: float, levels: int, sparsity: float, distortion: float, bits: float,
    multiplier: float = 0.0,
) -> LayerAllocation:  # fmt: skip
    """A layer's allocation, threshold and step rounded to the float32 numbers that everything computes with."""
    smallest = float(np.finfo(np.float32).tiny)
    return LayerAllocation(
        layer.name, layer.shape, layer.axis, layer.channel_scale,
        float(np.float32(threshold)), max(float(np.float32(step)), smallest), levels,
        float(sparsity), float(distortion), float(bits), float(multiplier),
    )  # fmt: skip
