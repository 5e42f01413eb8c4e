"""How often a layer's weights are used: once per output pixel."""

from __future__ import annotations

import math

from opq.errors import UnsupportedError
from opq.model import Model


def output_pixels(model: Model) -> dict[str, float]:
    """Multiply-adds per weight and image, by the name of the weights: the positions of a layer's output, or 1 of a Linear.

    Raises UnsupportedError, naming the layer, where the size of the images is not known.
    """
    result: dict[str, float] = {}
    for node in model.graph.nodes:
        if node.op not in ("Conv", "Linear"):
            continue
        shape = model.shapes.get(node.outputs[0])
        # Behind batch and channels of a convolution; between batch and features of a matrix product.
        positions = None if shape is None else (shape[2:] if node.op == "Conv" else shape[1:-1])
        sizes = [d for d in positions or () if isinstance(d, int)]
        if positions is None or len(sizes) < len(positions):
            raise UnsupportedError(
                f"layer {node.inputs[1]!r}: the size of its output is not known, so neither are its multiply-adds: "
                "export the network with fixed image sizes"
            )
        result[node.inputs[1]] = result.get(node.inputs[1], 0.0) + float(math.prod(sizes))
    return result
