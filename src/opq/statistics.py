"""One pass over the weights of a layer: everything the allocation needs to know about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.quantization import ChannelScale, Float32
from opq.threads import checked_threads
from opq.weights import as_rows, channel_scales

HISTOGRAM_BINS = 4096
HISTOGRAM_RANGE = 32.0  # in units of the mean nonzero magnitude, or up to the largest; what lies beyond is in the last bin


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Counts and moments of a layer's magnitudes m = |w| / scale[channel], summed in float64.

    tail[k] is the number of magnitudes >= k * bin_width, exact zeros left out; None unless it was asked for. outliers are those
    of its last bin.
    """

    name: str
    shape: tuple[int, ...]
    axis: int
    channel_scale: ChannelScale
    count: int
    nonzeros: int
    mean: float  # of all magnitudes: the maximum-likelihood b of a Laplace distribution
    mean_nonzero: float
    minimum: float  # of the nonzero magnitudes
    maximum: float
    energy: float  # mean of m^2
    tail: npt.NDArray[np.float64] | None
    bin_width: float
    outliers: Float32 = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.shape[self.axis]


def measure(name: str, weights: Float32, axis: int, channel_scale: ChannelScale, histogram: bool) -> LayerStatistics:
    """Statistics of `weights` (finite, float32, at least one element); `histogram` asks for the tail counts."""
    threads = checked_threads(None)
    rows = as_rows(weights, channel_scales(weights, axis) if channel_scale == "rms" else None, axis)
    nonzeros, minimum, maximum, total, energy = _core.moments(*rows, threads)
    mean_nonzero = total / nonzeros if nonzeros else 0.0
    bin_width = min(HISTOGRAM_RANGE * mean_nonzero, maximum) / HISTOGRAM_BINS
    tail, outliers = None, np.zeros(0, dtype=np.float32)
    if histogram and nonzeros:
        counts, outliers = _core.histogram(*rows, bin_width, HISTOGRAM_BINS, threads)
        counts[0] -= weights.size - nonzeros
        tail = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]]).astype(np.float64)
    return LayerStatistics(
        name, weights.shape, axis, channel_scale, weights.size, nonzeros, total / weights.size, mean_nonzero,
        minimum, maximum, energy / weights.size, tail, bin_width, outliers,
    )  # fmt: skip
