"""PyTorch: an `nn.Module` trained with its masks and codebooks fixed.

    opq.torch.fix(module, ratio=12)     # in place: `layer.weight` is from now on the weight in its codebook
    ...                                 # any training loop
    opq.torch.save(module, "net.opq")

Every weight becomes a parametrization (`torch.nn.utils.parametrize`): the parameter `layer.parametrizations.weight.original` is
trained, and mask and codebook are buffers beside it, so the module's `state_dict` holds all that training needs to go on. The
arithmetic and the rule of the gradient are those of `opq.fixed_layer`, in float32 whatever type the module has.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import torch
    from torch import Tensor, nn
    from torch.nn.utils import parametrize
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("opq.torch needs PyTorch: pip install 'opq[torch]'") from error

from opq.compressed import CompressedModel
from opq.compression import compress
from opq.fixed_compression import FixedCompression
from opq.fixed_layer import FixedLayer
from opq.model import Model
from opq.onnx_import import load_onnx
from opq.quantization import QuantizedTensor
from opq.rounding import DenseTensors

_CODEBOOK = ("step", "levels", "scale")


def fix(module: nn.Module, *, fixed: FixedCompression | None = None, **options: Any) -> FixedCompression:
    """Decide masks and codebooks of the module's weights, and let it compute with them from now on.

    options  those of `opq.compress`, budget and `skip` among them, for the module as a mapping: all its tensors by their names
             in `state_dict`, of which parameters of two and more dimensions are quantized
    fixed    instead of options: masks and codebooks that were decided before, by names of parameters

    Make the optimizer after this call, for the parameters that the module has then. Raises ValueError for a weight that two
    layers share or that has a parametrization, and as `opq.compress` does; then the module is as it was.
    """
    if fixed is None:
        fixed = FixedCompression.of(compress(_arrays(module), **options))
    elif options:
        raise ValueError(f"fixed has decided masks and codebooks: leave out {next(iter(options))}")
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, layer in fixed.items():
        parameter = parameters.get(name)
        if parameter is None:
            raise ValueError(f"the module has no parameter {name!r}, or it has a parametrization already")
        if tuple(parameter.shape) != layer.shape:
            raise ValueError(f"parameter {name!r} has shape {tuple(parameter.shape)}, the mask {layer.shape}")
        shared = next((other for other, p in parameters.items() if p is parameter and other != name), None)
        if shared is not None:
            raise ValueError(f"parameter {name!r} is {shared!r} as well: add both to skip")
    for name, layer in fixed.items():
        path, _, tensor_name = name.rpartition(".")
        projection = Projection(layer).to(parameters[name].device)
        # The weight's layout, channels_last for one, would otherwise be lost in every forward pass.
        projection.mask = torch.empty_like(parameters[name], dtype=torch.bool).copy_(projection.mask)
        parametrize.register_parametrization(module.get_submodule(path), tensor_name, projection)
    return fixed


def fixed_compression(module: nn.Module) -> FixedCompression:
    """The masks and codebooks of a module that was fixed. Raises ValueError where none was."""
    return FixedCompression.of({name: projection.tensor() for name, _, _, projection in _projections(module)})


def compressed(
    module: nn.Module, example: tuple[Tensor, ...] | None = None, *, dense: DenseTensors = "auto"
) -> CompressedModel:
    """The compressed model of a module that was fixed: same masks and codebooks, codes of the weights as they are now.

    example  inputs, each a batch. With them, the module in evaluation mode goes through `torch.onnx` and the result has a graph
             that `opq.Session` runs, for any batch; BatchNorm becomes scales and biases of the layers before. Without, the
             result is a mapping with the names of `state_dict`.
    dense    rounding of scales and biases in the file, as for `opq.compress`

    Raises ValueError where nothing was fixed, ImportError for an example where onnxscript is missing, and as `opq.load_onnx`
    and `opq.compress` do.
    """
    fixed = fixed_compression(module)
    if example is None:
        return compress(_arrays(module), fixed=fixed, dense=dense)
    return compress(_model(module, example), fixed=fixed, dense=dense)


def save(module: nn.Module, path: str | os.PathLike[str], example: tuple[Tensor, ...] | None = None) -> None:
    """Write the `.opq` file of `compressed(module, example)`."""
    compressed(module, example).save(path)


class Projection(nn.Module):
    """The parametrization of one weight: `opq.FixedCompression.project` and `gradient` on tensors.

    mask is a bool buffer of the weight's shape; step and levels are float32 scalars; scale is float32 [channels], shaped to
    broadcast against the weight, or None. The codebook stays float32 when a module becomes float16 or bfloat16.
    """

    mask: Tensor
    step: Tensor
    levels: Tensor
    scale: Tensor | None

    def __init__(self, layer: FixedLayer) -> None:
        super().__init__()
        self.axis = layer.axis
        self.register_buffer("mask", torch.from_numpy(layer.mask.copy()))
        self.register_buffer("step", torch.tensor(layer.step, dtype=torch.float32))
        self.register_buffer("levels", torch.tensor(float(layer.levels)))
        scale = None
        if layer.scale is not None:
            scale = torch.from_numpy(layer.scale.copy())
            scale = scale.reshape([-1 if i == layer.axis else 1 for i in range(layer.mask.ndim)])
        self.register_buffer("scale", scale)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight in its mask and codebook, in the weight's type."""
        result: Tensor = _Project.apply(weight, self.mask, self.step, self.levels, self.scale)
        return result

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What `layer.weight = weight` assigns."""
        return weight

    def tensor(self) -> QuantizedTensor:
        """Mask and codebook, with codes of 1 where the mask is open."""
        scale = None if self.scale is None else _array(self.scale).reshape(-1)
        return QuantizedTensor(
            _array(self.mask).astype(np.int8), float(self.step), int(self.levels), scale, None if scale is None else self.axis
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Projection:
        before = {name: getattr(self, name) for name in _CODEBOOK}
        super()._apply(fn, recurse)
        for name, value in before.items():
            if value is not None:
                setattr(self, name, value.to(self.mask.device))
        return self


class _Project(torch.autograd.Function):
    """The projection in the operations of `FixedLayer.quantize`, its gradient by the rule of `FixedLayer.passes`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, mask: Tensor, step: Tensor, levels: Tensor, scale: Tensor | None) -> Tensor:
        value = weight.float()
        level = _rounded(value, step, scale).clamp(min=1.0).minimum(levels)
        unit = step if scale is None else step * scale
        return torch.where(mask, torch.copysign(level, value) * unit, 0.0).to(weight.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        [gradient] = gradients
        weight, mask, step, levels, scale = ctx.saved_tensors
        clipped = _rounded(weight.float(), step, scale) > levels
        outward = (gradient > 0.0) != (weight > 0.0)
        return torch.where(mask & ~(clipped & outward), gradient, 0.0), None, None, None, None


def _rounded(weight: Tensor, step: Tensor, scale: Tensor | None) -> Tensor:
    """rint(|w| / scale / step), ties to even."""
    magnitude = weight.abs() if scale is None else weight.abs() / scale
    return torch.round(magnitude / step)


def _projections(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Projection]]:
    """Name of the weight, its layer, its name there, and its projection."""
    for path, layer in module.named_modules():
        if parametrize.is_parametrized(layer):
            for tensor_name, chain in layer.parametrizations.items():
                if isinstance(chain[0], Projection):
                    yield f"{path}.{tensor_name}" if path else tensor_name, layer, tensor_name, chain[0]


def _arrays(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """All tensors by their names in the `state_dict` of a module without projections. Buffers are flat: they stay dense."""
    state = dict(module.state_dict())
    for name, _, _, _ in _projections(module):
        path, dot, tensor_name = name.rpartition(".")
        prefix = f"{path}{dot}parametrizations.{tensor_name}."
        state[name] = state.pop(f"{prefix}original")
        for key in [key for key in state if key.startswith(f"{prefix}0.")]:
            del state[key]
    buffers = {name for name, _ in module.named_buffers()}
    return {name: _array(value).reshape(-1) if name in buffers else _array(value) for name, value in state.items()}


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """A NumPy array; of float32 where NumPy lacks the type."""
    tensor = tensor.detach().cpu()
    result: npt.NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return result


def _model(module: nn.Module, example: tuple[Tensor, ...]) -> Model:
    """The module in evaluation mode through ONNX, its weights as constants in their codebooks."""
    try:
        from onnxscript import optimizer
    except ModuleNotFoundError as error:
        if error.name != "onnxscript":
            raise
        raise ImportError("torch.onnx needs the onnxscript package: pip install 'opq[torch]'") from error
    plain = copy.deepcopy(module).cpu().float().eval()
    for _, layer, tensor_name, _ in list(_projections(plain)):
        # A copied layer has the class of the one that it is copied from, and removing changes the class.
        layer.__class__ = type(type(layer).__name__, type(layer).__bases__, dict(type(layer).__dict__))
        parametrize.remove_parametrizations(layer, tensor_name, leave_parametrized=True)
    inputs = tuple(torch.cat([x, x]).cpu() for x in example)  # torch.export takes a batch of one for a constant
    inputs = tuple(x.float() if x.is_floating_point() else x for x in inputs)
    shapes = [{0: torch.export.Dim("N")} for _ in inputs]
    # Not optimized by the exporter, which would fold BatchNorm into the weights: they are codewords.
    program = torch.onnx.export(plain, inputs, dynamo=True, optimize=False, dynamic_shapes=shapes, verbose=False)
    optimizer.fold_constants(program.model)
    return load_onnx(program.model_proto)
