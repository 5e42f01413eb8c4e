"""opq.jax with JAX itself: training moves weights alone, and the file holds the trained parameters."""

import numpy as np
import pytest

pytest.importorskip("jax", reason="JAX is not installed: make .venv/.frameworks")
import jax
import jax.numpy as jnp

import opq
import opq.jax
from opq.quantization import QuantizedTensor


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"conv": (3, 3, 2, 8), "hidden": (128, 64), "out": (64, 5)}
    return {
        name: {"kernel": jnp.asarray(rng.laplace(size=s) / s[0], jnp.float32), "bias": jnp.zeros(s[-1])}
        for name, s in shapes.items()
    }


def logits(params, x):
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, params["conv"]["kernel"], (2, 2), "SAME", dimension_numbers=dimensions)
    x = jax.nn.relu(x + params["conv"]["bias"]).reshape(len(x), -1)
    x = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return x @ params["out"]["kernel"] + params["out"]["bias"]


def train(fixed, params, steps=5):
    optax = pytest.importorskip("optax", reason="optax is not installed: make .venv/.frameworks")
    project, optimizer = opq.jax.projection(fixed), optax.adam(0.02)

    def loss(params, x, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits(project(params), x), labels).mean()

    @jax.jit
    def step(params, state, x, labels):
        updates, state = optimizer.update(jax.grad(loss)(params, x, labels), state)
        return optax.apply_updates(params, updates), state

    rng, state = np.random.default_rng(1), optimizer.init(params)
    for _ in range(steps):
        x = rng.normal(size=(16, 8, 8, 2)).astype(np.float32)
        params, state = step(params, state, x, rng.integers(0, 5, size=16))
    return params


@pytest.mark.parametrize("options", [{"ratio": 8}, {"sparsity": 0.6, "bits": 3, "channel_scale": "none"}])
def test_training_moves_codes_and_neither_masks_nor_codebooks(tmp_path, options):
    start = parameters()
    fixed = opq.jax.fix(start, **options)
    fixed.save(tmp_path / "before.opq")
    params = train(fixed, start)
    opq.jax.save(fixed, params, tmp_path / "after.opq")
    assert fixed == opq.FixedCompression.load(tmp_path / "before.opq") == opq.FixedCompression.load(tmp_path / "after.opq")
    loaded, names = opq.load(tmp_path / "after.opq").dense_tensors(), opq.jax.arrays(start)
    used = opq.jax.arrays(jax.jit(opq.jax.projection(fixed))(params))
    assert loaded.keys() == names.keys()
    for name, trained in opq.jax.arrays(params).items():
        np.testing.assert_array_equal(loaded[name], used[name])  # so the file's network is the trained one
        if name in fixed:
            np.testing.assert_array_equal(trained[~fixed[name].mask], names[name][~fixed[name].mask])
            assert not np.array_equal(fixed.codes(name, trained), fixed.codes(name, names[name]))
    x = np.random.default_rng(2).normal(size=(4, 8, 8, 2)).astype(np.float32)
    tree = {layer: {part: loaded[f"{layer}/{part}"] for part in start[layer]} for layer in start}
    np.testing.assert_array_equal(logits(tree, x), logits(opq.jax.projection(fixed)(params), x))


@pytest.mark.parametrize("step", [0.7, 0.013])
@pytest.mark.parametrize("scale", [None, np.array([0.3, 1.0, 2.6], np.float32)])
def test_projection_and_gradient_are_those_of_numpy(step, scale):
    """Also where XLA would like to divide in another way."""
    rng, step = np.random.default_rng(0), float(np.float32(step))
    w = (4 * step * rng.normal(size=(3, 4000))).astype(np.float32)
    w[:, :3000] = np.float32(step) * rng.integers(0, 180, size=(3, 3000)) / np.float32(2)  # at and near the ties
    w = w if scale is None else w * scale[:, None]
    mask, g = rng.random(w.shape) < 0.6, rng.normal(size=w.shape).astype(np.float32)
    tensor = QuantizedTensor(mask.astype(np.int8), step, 33, scale, None if scale is None else 0)
    fixed = opq.FixedCompression.of({"w": tensor})
    project = opq.jax.projection(fixed)

    def product(params):
        return (project(params)["w"] * g).sum()

    for compile_it in (lambda f: f, jax.jit):
        np.testing.assert_array_equal(compile_it(project)({"w": w})["w"], fixed.project("w", w))
        gradient = compile_it(jax.grad(product))({"w": jnp.asarray(w)})["w"]
        np.testing.assert_array_equal(gradient, fixed.gradient("w", w, g))


def test_half_precision_parameters():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), parameters())
    fixed = opq.jax.fix(params, sparsity=0.5, bits=4, channel_scale="none")
    used = opq.jax.projection(fixed)(params)["out"]["kernel"]
    assert used.dtype == jnp.bfloat16
    expected = fixed.project("out/kernel", np.asarray(params["out"]["kernel"]))
    np.testing.assert_array_equal(used.astype(jnp.float32), jnp.asarray(expected).astype(jnp.bfloat16).astype(jnp.float32))


def test_errors_name_the_parameter():
    params = parameters()
    fixed = opq.jax.fix(params, bits=3)
    project = opq.jax.projection(fixed)
    with pytest.raises(ValueError, match="the parameters have no 'conv/kernel', which is fixed"):
        project({"out": params["out"]})
    params["out"]["kernel"] = params["out"]["kernel"].T
    with pytest.raises(ValueError, match=r"parameter 'out/kernel' has shape \(5, 64\), the mask \(64, 5\)"):
        project(params)
