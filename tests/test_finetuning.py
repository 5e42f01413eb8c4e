"""Fine-tuning as a user does it: the NumPy example, and docs/finetuning.md's code, which is run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

import opq
from examples.finetuning_numpy import error, gradients, initial, projected, train

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "finetuning.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FRAMEWORKS = ((), ("torch", "onnxscript"), ("jax", "optax"))


@pytest.mark.parametrize(("text", "packages"), list(zip(BLOCKS, FRAMEWORKS, strict=True)), ids=["core", "torch", "jax"])
def test_the_page(tmp_path, monkeypatch, text, packages):
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed: make .venv/.frameworks")
    monkeypatch.chdir(tmp_path)
    assert len(text.splitlines()) <= 30
    exec(compile(text, "docs/finetuning.md", "exec"), {})


def clusters(rng, n=2000, classes=10, size=64):
    centres, labels = np.random.default_rng(7).normal(size=(classes, size)), rng.integers(0, classes, size=n)
    return (centres[labels] + 0.9 * rng.normal(size=(n, size))).astype(np.float32), labels


def test_accuracy_comes_back_with_masks_and_codebooks_as_they_were():
    rng = np.random.default_rng(0)
    images, labels = clusters(rng)
    test = clusters(np.random.default_rng(1))
    dense = train(initial((64, 100, 10), rng), images, labels, epochs=8, rate=0.1, rng=rng, l1=1e-4)
    first = opq.compress(dense, sparsity=0.9, bits=2, channel_scale="none")
    fixed = opq.FixedCompression.of(first)
    tuned = train(dense, images, labels, epochs=8, rate=0.05, rng=rng, fixed=fixed)
    result = opq.compress(dense, fixed=fixed, weights=tuned)
    assert opq.FixedCompression.of(opq.load(result.to_bytes())) == fixed
    before, after = error(first.dense_tensors(), *test), error(result.dense_tensors(), *test)
    assert error(result.dense_tensors(), *test) == error(projected(tuned, fixed), *test)
    assert after < 0.5 * before
    for name in fixed:
        np.testing.assert_array_equal(tuned[name][~fixed[name].mask], dense[name][~fixed[name].mask])
        assert not np.array_equal(result[name].codes, first[name].codes)


def test_the_example_s_gradients():
    rng = np.random.default_rng(0)
    params = initial((5, 7, 3), rng)
    x, labels = rng.normal(size=(4, 5)).astype(np.float32), np.array([0, 1, 2, 1])

    def loss(params):
        h = np.maximum(x.astype(np.float64) @ params["0.weight"].T + params["0.bias"], 0)
        z = h @ params["1.weight"].T + params["1.bias"]
        return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(4), labels])

    wide = {name: p.astype(np.float64) for name, p in params.items()}
    for name, g in gradients(params, x, labels).items():
        for index in np.ndindex(g.shape):
            ends = []
            for sign in (-1, 1):
                moved = {**wide, name: wide[name].copy()}
                moved[name][index] += sign * 1e-6
                ends.append(loss(moved))
            assert g[index] == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-3, abs=1e-5)
