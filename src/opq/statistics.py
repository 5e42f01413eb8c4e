"""One pass over the weights of a layer: everything the allocation needs to know about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from opq.quantization import BLOCK, ChannelScale, Float32, channel_scales, magnitudes

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
    scale = channel_scales(weights, axis) if channel_scale == "rms" else None
    m = magnitudes(weights, scale, axis).ravel(order="K")
    nonzeros = int(np.count_nonzero(m))
    total = float(m.sum(dtype=np.float64))
    maximum = float(m.max())
    mean_nonzero = total / nonzeros if nonzeros else 0.0
    minimum = float(m.min()) if nonzeros == m.size else float(np.min(m, initial=np.inf, where=m > 0))
    bin_width = min(HISTOGRAM_RANGE * mean_nonzero, maximum) / HISTOGRAM_BINS
    tail = _tail_counts(m, bin_width, nonzeros) if histogram and nonzeros else None
    outliers = m[m >= np.float32(bin_width * (HISTOGRAM_BINS - 1))] if tail is not None else np.zeros(0, dtype=np.float32)
    energy = 0.0
    if nonzeros:
        m /= np.float32(maximum)  # so that squares neither overflow nor vanish
        energy = maximum**2 * float(np.einsum("i,i->", m, m, dtype=np.float64)) / m.size
    mean = total / m.size
    return LayerStatistics(
        name, weights.shape, axis, channel_scale, m.size, nonzeros, mean, mean_nonzero,
        minimum if nonzeros else 0.0, maximum, energy, tail, bin_width, outliers,
    )  # fmt: skip


def _tail_counts(m: Float32, bin_width: float, nonzeros: int) -> npt.NDArray[np.float64]:
    counts = np.zeros(HISTOGRAM_BINS, dtype=np.int64)
    for i in range(0, m.size, BLOCK):
        index = np.minimum(m[i : i + BLOCK].astype(np.float64) / bin_width, HISTOGRAM_BINS - 1).astype(np.int64)
        counts += np.bincount(index, minlength=HISTOGRAM_BINS)
    counts[0] -= m.size - nonzeros
    return np.concatenate([np.cumsum(counts[::-1])[::-1], [0]]).astype(np.float64)
