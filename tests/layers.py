"""Layers of Laplace weights, and budgets of every kind: what the traps of an allocation are tried on (test_traps_*.py).

Traps that the tests of a module close already are not closed there again: ties and negative zeros of the codes in
test_quantization.py, NaN, infinity and byte order in test_allocation.py, wrong wiring in test_repair.py.
"""

import numpy as np

from opq.statistics import measure

BUDGETS = {
    "ratio": {"ratio": 12},
    "histogram": {"ratio": 12, "distribution": "histogram"},
    "sparsity and bits": {"sparsity": 0.7, "bits": 4},
    "sparsity and mean bits": {"sparsity": 0.7, "mean_bits": 3.5},
    "sparsity and ratio": {"sparsity": 0.7, "ratio": 14},
    "macs and bits": {"macs": 0.3, "bits": 3},
    "bits": {"bits": 5},
}


def laplace_layers(sizes=(4000, 40000, 9000), seed=0, channels=20):
    """Layers of different scales, in numbers that float16 holds."""
    rng = np.random.default_rng(seed)
    return {
        f"l{i}": (np.exp(rng.normal()) * rng.laplace(size=(channels, n // channels))).astype(np.float16).astype(np.float32)
        for i, n in enumerate(sizes)
    }


def measured(named, histogram=False):
    return [measure(name, w, 0, "none", histogram) for name, w in named.items()]
