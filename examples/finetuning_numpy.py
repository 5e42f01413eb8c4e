"""Fine-tuning without any framework: a small network on MNIST, compressed once, then trained with the compression fixed.

    python examples/finetuning_numpy.py

About a minute; the first call downloads MNIST, 20 MB.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks.mnist import mnist

Float32 = npt.NDArray[np.float32]
Params = dict[str, Float32]  # "<i>.weight" [out, in] and "<i>.bias" [out] of layer i; ReLU between the layers


def initial(sizes: tuple[int, ...], rng: np.random.Generator) -> Params:
    """He's initialisation."""
    params: Params = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        params[f"{i}.weight"] = (rng.normal(size=(outputs, inputs)) * np.sqrt(2.0 / inputs)).astype(np.float32)
        params[f"{i}.bias"] = np.zeros(outputs, dtype=np.float32)
    return params


def forward(params: Mapping[str, Float32], x: Float32) -> list[Float32]:
    """The input of every layer, and the logits [n, classes] at the end."""
    values, layers = [x], len(params) // 2
    for i in range(layers):
        y = values[-1] @ params[f"{i}.weight"].T + params[f"{i}.bias"]
        values.append(np.maximum(y, 0.0) if i < layers - 1 else y)
    return values


def gradients(params: Mapping[str, Float32], x: Float32, labels: npt.NDArray[np.int64]) -> Params:
    """Of the mean cross entropy, with respect to every parameter."""
    values, result = forward(params, x), {}
    p = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1.0
    g = p / np.float32(len(x))
    for i in reversed(range(len(params) // 2)):
        result[f"{i}.weight"], result[f"{i}.bias"] = g.T @ values[i], g.sum(axis=0)
        g = (g @ params[f"{i}.weight"]) * (values[i] > 0.0)
    return result


def train(
    params: Params, x: Float32, labels: npt.NDArray[np.int64], *, epochs: int, rate: float, rng: np.random.Generator,
    fixed: opq.FixedCompression | None = None, l1: float = 0.0, batch: int = 128,
) -> Params:  # fmt: skip
    """Stochastic gradient descent with momentum 0.9; the rate falls to 0 linearly. With `fixed`, the compression stays."""
    params = {name: p.copy() for name, p in params.items()}
    velocity = {name: np.zeros_like(p) for name, p in params.items()}
    steps, step = epochs * -(-len(x) // batch), 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch):
            index = order[start : start + batch]
            g = gradients(projected(params, fixed), x[index], labels[index])
            for name, p in params.items():
                if fixed is not None and name in fixed:
                    g[name] = fixed.gradient(name, p, g[name])
                elif p.ndim > 1:
                    g[name] = g[name] + np.float32(l1) * np.sign(p)
                velocity[name] = np.float32(0.9) * velocity[name] + g[name]
                p -= np.float32(rate * (1.0 - step / steps)) * velocity[name]
            step += 1
    return params


def projected(params: Params, fixed: opq.FixedCompression | None) -> Params:
    """What the network computes with."""
    return {name: p if fixed is None or name not in fixed else fixed.project(name, p) for name, p in params.items()}


def error(params: Mapping[str, Float32], x: Float32, labels: npt.NDArray[np.int64]) -> float:
    """Per cent that are classified wrong."""
    return 100.0 * float((forward(params, x)[-1].argmax(axis=1) != labels).mean())


def main() -> None:
    """Dense, compressed, fine-tuned: error and bytes of each."""
    data, rng = mnist(), np.random.default_rng(0)
    test = data.test_images, data.test_labels
    # The penalty drives weights that do not matter to zero, so that compression finds them.
    dense = train(initial((784, 300, 100, 10), rng), data.images, data.labels, epochs=8, rate=0.1, rng=rng, l1=3e-5)
    print(f"dense       {4 * sum(p.size for p in dense.values()):>9,} bytes  {error(dense, *test):5.2f} % error")

    first = opq.compress(dense, sparsity=0.96, bits=3, channel_scale="none")
    fixed = opq.FixedCompression.of(first)
    print(f"compressed  {first.file_bytes:>9,} bytes  {error(first.dense_tensors(), *test):5.2f} % error")

    tuned = train(dense, data.images, data.labels, epochs=4, rate=0.05, rng=rng, fixed=fixed)
    result = opq.compress(dense, fixed=fixed, weights=tuned)
    print(f"fine-tuned  {result.file_bytes:>9,} bytes  {error(result.dense_tensors(), *test):5.2f} % error")
    assert opq.FixedCompression.of(result) == fixed


if __name__ == "__main__":
    main()
