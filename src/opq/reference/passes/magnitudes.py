"""What the passes look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def magnitudes(weights: Float32, scale: Float32) -> Float32:
    """m = |w| / scale[channel], [rows, length]."""
    return np.divide(np.abs(weights), np.resize(scale, len(weights))[:, None], dtype=np.float32)
