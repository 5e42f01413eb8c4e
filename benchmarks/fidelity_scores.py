"""How near a compressed network's answers are to the dense one's, with bootstrap intervals over the photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESAMPLES, LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over photographs and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """Means over photographs.

    top1, top5  share of photographs whose label is the likeliest class, or among the five likeliest; None without labels
    agreement   share with the dense network's likeliest class
    divergence  KL(dense || compressed) of the class probabilities, in nats
    change      of the last class' probability, absolute: for networks that answer one yes-or-no question
    """

    top1: Estimate | None
    top5: Estimate | None
    agreement: Estimate
    divergence: Estimate
    change: Estimate


def score(dense: Array, compressed: Array, labels: npt.NDArray[np.int64] | None) -> Scores:
    """Scores of log probabilities [n, classes] beside the dense network's; `labels` are places among the classes."""
    p, q = np.exp(dense), np.exp(compressed)
    top = top_classes(compressed, min(5, compressed.shape[1]))
    hits = None if labels is None else top == labels[:, None]
    return Scores(
        None if hits is None else bootstrap(hits[:, 0]),
        None if hits is None else bootstrap(hits.any(axis=1)),
        bootstrap(top[:, 0] == dense.argmax(axis=1)),
        bootstrap((p * (dense - compressed)).sum(axis=1)),
        bootstrap(np.abs(p[:, -1] - q[:, -1])),
    )


def top_classes(log_probabilities: Array, count: int) -> npt.NDArray[np.int64]:
    """The likeliest classes, [n, count], the likeliest first."""
    return np.argsort(-log_probabilities, axis=1, kind="stable")[:, :count]


def bootstrap(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> Estimate:
    """Mean of one value per photograph, and the interval that means of resampled photographs lie in. The same at every call."""
    values = values.astype(np.float64)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(values), np.full(len(values), 1.0 / len(values)), size=RESAMPLES)
    means = weights @ values / len(values)
    low, high = np.quantile(means, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Estimate(float(values.mean()), float(low), float(high))
