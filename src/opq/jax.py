"""JAX: a pytree of parameters trained with their masks and codebooks fixed.

    fixed = opq.jax.fix(params, ratio=12)
    project = opq.jax.projection(fixed)
    loss = lambda params, x: ... project(params) ...     # any loss, under jit and grad, with any optimizer
    opq.jax.save(fixed, params, "net.opq")

A parameter's name is its path in the tree, "conv1/kernel". The arithmetic and the rule of the gradient are those of
`opq.fixed_layer`, in float32 whatever type a parameter has.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import jax
    import jax.numpy as jnp
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError("opq.jax needs JAX: pip install 'opq[jax]'") from error

from opq.compressed import CompressedModel
from opq.compression import compress
from opq.fixed_compression import FixedCompression
from opq.fixed_layer import FixedLayer
from opq.rounding import DenseTensors


def fix(params: Any, **options: Any) -> FixedCompression:
    """Decide masks and codebooks of the parameters, which stay as they are.

    params   a pytree of arrays; those of two and more dimensions are quantized
    options  those of `opq.compress`, for the parameters as a mapping; `skip` takes their names. Channel scales run along the
             first axis: `channel_scale="none"` where that is not the layer's outputs

    Raises as `opq.compress` does.
    """
    return FixedCompression.of(compress(arrays(params), **options))


def projection(fixed: FixedCompression) -> Callable[[Any], Any]:
    """A pure function: parameters -> the same tree with every layer of `fixed` in its mask and codebook.

    It has a custom gradient, the straight-through rule. Raises ValueError for a tree without one of the layers, or with another
    shape.
    """
    layers = {name: _projection(layer) for name, layer in fixed.items()}

    def project(params: Any) -> Any:
        leaves, tree = jax.tree_util.tree_flatten_with_path(params)
        names = [_name(path) for path, _ in leaves]
        missing = next((name for name in layers if name not in names), None)
        if missing is not None:
            raise ValueError(f"the parameters have no {missing!r}, which is fixed")
        for name, (_, leaf) in zip(names, leaves, strict=True):
            if name in fixed and leaf.shape != fixed[name].shape:
                raise ValueError(f"parameter {name!r} has shape {leaf.shape}, the mask {fixed[name].shape}")
        values = [layers[name](leaf) if name in layers else leaf for name, (_, leaf) in zip(names, leaves, strict=True)]
        return jax.tree_util.tree_unflatten(tree, values)

    return project


def compressed(fixed: FixedCompression, params: Any, *, dense: DenseTensors = "auto") -> CompressedModel:
    """The parameters as a compressed mapping by name: same masks and codebooks, codes of the parameters as they are now.

    dense  rounding of what is not quantized, as for `opq.compress`, whose errors are raised
    """
    return compress(arrays(params), fixed=fixed, dense=dense)


def save(fixed: FixedCompression, params: Any, path: str | os.PathLike[str]) -> None:
    """Write the `.opq` file of `compressed(fixed, params)`."""
    compressed(fixed, params).save(path)


def arrays(params: Any) -> dict[str, npt.NDArray[Any]]:
    """The parameters as NumPy arrays by name."""
    return {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]}


def _name(path: Any) -> str:
    name: str = jax.tree_util.keystr(path, simple=True, separator="/")
    return name


def _projection(layer: FixedLayer) -> Callable[[Any], Any]:
    """One layer's projection, in the operations of `FixedLayer.quantize`; its gradient by the rule of `FixedLayer.passes`."""
    scale = None
    if layer.scale is not None:
        scale = layer.scale.reshape([-1 if i == layer.axis else 1 for i in range(layer.mask.ndim)])
    step = np.float32(layer.step)

    def divided(magnitude: Any, by: Any) -> Any:
        # XLA multiplies by the inverse of a constant or a broadcast divisor, and by the product of two: all of it rounds
        # otherwise. Behind the barriers it does not know that these are such.
        barrier = jax.lax.optimization_barrier
        return barrier(magnitude) / barrier(jnp.broadcast_to(by, magnitude.shape))

    def rounded(weight: Any) -> Any:
        magnitude = jnp.abs(weight.astype(jnp.float32))
        return jnp.round(divided(magnitude if scale is None else divided(magnitude, scale), step))

    @jax.custom_vjp
    def project(weight: Any) -> Any:
        level = jnp.clip(rounded(weight), 1.0, float(layer.levels))
        unit = step if scale is None else step * scale
        return jnp.where(layer.mask, jnp.copysign(level, weight.astype(jnp.float32)) * unit, 0.0).astype(weight.dtype)

    def forward(weight: Any) -> tuple[Any, Any]:
        return project(weight), weight

    def backward(weight: Any, gradient: Any) -> tuple[Any]:
        clipped = rounded(weight) > layer.levels
        outward = (gradient > 0) != (weight > 0)
        return (jnp.where(layer.mask & ~(clipped & outward), gradient, jnp.zeros_like(gradient)),)

    project.defvjp(forward, backward)
    return project  # type: ignore[no-any-return]
