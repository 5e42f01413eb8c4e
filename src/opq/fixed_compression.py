"""Masks and codebooks of a whole network: decided once from the pre-trained weights, fixed while the weights are trained."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.codes import quantize
from opq.compressed import CompressedModel, load
from opq.errors import FormatError
from opq.fixed_layer import FixedLayer
from opq.layer_allocation import LayerAllocation
from opq.quantization import Float32, QuantizedTensor, Rounding
from opq.source import FileSource, errors_named
from opq.weights import as_weights


class FixedCompression(Mapping[str, FixedLayer]):
    """The mask and codebook of every layer, by name; see `opq.fixed_layer` for what they make of weights and gradients.

    weights     name -> the pre-trained weights, of any floating-point type
    allocation  what `opq.allocate` decided for them; only the layers named here are fixed
    rounding    of the codes that the masks are taken from, as for `opq.quantize`

    `FixedCompression.of(opq.compress(model, ratio=12))` takes them from a compressed model instead.

    Two are equal if all masks and codebooks are, bit for bit. Raises ValueError for a layer without weights, and as
    `opq.quantize` does.
    """

    def __init__(
        self, weights: Mapping[str, npt.ArrayLike], allocation: Mapping[str, LayerAllocation], *, rounding: Rounding = "nearest"
    ) -> None:
        missing = next((name for name in allocation if name not in weights), None)
        if missing is not None:
            raise ValueError(f"no weights were given for layer {missing!r} of the allocation")
        tensors = {name: quantize(weights[name], layer, rounding=rounding) for name, layer in allocation.items()}
        self._layers = _fixed_layers(tensors)

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> FixedCompression:
        """Masks and codebooks of the quantized tensors of a compressed model, or of any mapping; what is dense stays free.

        Channel scales are those of the model: where `opq.compress` repaired them, the repaired ones. Its repairs fit the codes
        that the weights project to only if these were the nearest: `rounding="nearest"`.

        Raises ValueError, naming the layer, for a channel scale that is not positive, and where nothing is quantized.
        """
        self = cls.__new__(cls)
        self._layers = _fixed_layers({name: t for name, t in model.items() if isinstance(t, QuantizedTensor)})
        if not self._layers:
            raise ValueError("nothing to fix: the model has no quantized tensor")
        return self

    @classmethod
    def load(cls, source: FileSource) -> FixedCompression:
        """Masks and codebooks of what `save` wrote, or of any other `.opq` file; sources and errors are those of `opq.load`."""
        model = load(source)
        with errors_named(source):
            try:
                return cls.of(model)
            except ValueError as error:
                raise FormatError(str(error)) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as an `.opq` file, in which a code is 1 where the mask is open; it appears whole or not at all."""
        masks = {
            name: QuantizedTensor(layer.mask.astype(np.int8), layer.step, layer.levels, layer.scale, layer.axis)
            for name, layer in self.items()
        }
        CompressedModel(None, masks).save(path)

    def __getitem__(self, name: str) -> FixedLayer:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        weights = sum(layer.mask.size for layer in self.values())
        survivors = sum(int(np.count_nonzero(layer.mask)) for layer in self.values())
        return f"FixedCompression({len(self)} layers, {survivors} of {weights} weights)"

    def quantize(self, name: str, weights: npt.ArrayLike) -> QuantizedTensor:
        """The layer's weights in its mask and codebook.

        Raises ValueError, naming the layer, where there is none, for another shape, and for weights that are no finite
        floating-point numbers.
        """
        layer, array = self._checked(name, weights)
        return layer.quantize(array)

    def codes(self, name: str, weights: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """The codes of the layer's weights, int8: what a file holds. Errors are those of `quantize`."""
        return self.quantize(name, weights).codes

    def project(self, name: str, weights: npt.ArrayLike) -> Float32:
        """What the network computes with instead of the layer's weights, float32. Errors are those of `quantize`."""
        return self.quantize(name, weights).dequantize()

    def gradient(self, name: str, weights: npt.ArrayLike, gradient: npt.ArrayLike) -> npt.NDArray[Any]:
        """The gradient with respect to the layer's weights, from the one with respect to `project(name, weights)`.

        The straight-through rule: `gradient` where the mask is open, 0 elsewhere; and of a weight beyond its largest codeword
        only what moves it back, against `gradient`. Of `gradient`'s type. Errors are those of `quantize`.
        """
        layer, array = self._checked(name, weights)
        values = np.asarray(gradient)
        if values.shape != layer.shape:
            raise ValueError(f"layer {name!r}: the gradient has shape {values.shape}, expected {layer.shape}")
        return np.where(layer.passes(array, values), values, values.dtype.type(0))

    def _checked(self, name: str, weights: npt.ArrayLike) -> tuple[FixedLayer, Float32]:
        if name not in self._layers:
            raise ValueError(f"no layer {name!r} is fixed")
        layer, array = self._layers[name], as_weights(name, weights)
        if array.shape != layer.shape:
            raise ValueError(f"layer {name!r}: weights have shape {array.shape}, the mask {layer.shape}")
        return layer, array


def _fixed_layers(tensors: Mapping[str, QuantizedTensor]) -> dict[str, FixedLayer]:
    layers = {}
    for name, tensor in tensors.items():
        try:
            layers[name] = FixedLayer.of(tensor)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from None
    return layers
