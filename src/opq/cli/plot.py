"""`opq plot`: what an .opq file keeps of every layer, as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from opq.cli.sources import load_source
from opq.cli.tables import progress
from opq.compressed import CompressedModel, load
from opq.model import Model
from opq.plotting import check_picture, draw_histogram, draw_layers, layers_height, new_figure, save_figure
from opq.plotting.histogram import LayerWeights, layer_weights
from opq.quantization import QuantizedTensor
from opq.weights import as_weights

_EPILOG = """\
share of the error = squared error over squared weights of a layer, over the sum of that over the layers.

examples:
  opq plot net.opq -o layers.png
  opq plot net.opq -o layer.svg --layer conv1.weight --weights net.onnx
"""

_WIDTH, _HISTOGRAM_HEIGHT = 13.0, 4.0  # inches


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "plot",
        help="draw sparsity, bits, bytes and error of every layer",
        description="Draw sparsity, bits per weight, bytes and share of the error of every layer of an .opq file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help=".opq file")
    parser.add_argument("-o", "--output", required=True, help=".png, .svg or .pdf file to write")
    parser.add_argument("--layer", help="add the histogram of this layer's weights with its threshold and levels")
    parser.add_argument("--weights", help="the .onnx, .safetensors or .npz file that was compressed; for --layer")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw."""
    check_picture(args.output)
    if (args.layer is None) != (args.weights is None):
        raise ValueError("--layer and --weights go together: the histogram is of the dense weights of one layer")
    model = load(args.file)
    report = model.report
    if not report["layers"]:
        raise ValueError(f"{args.file}: no tensor is quantized: there is nothing to draw")
    height = layers_height(report)
    title = Path(args.file).name
    if args.layer is None:
        figure = new_figure(_WIDTH, height)
        draw_layers(figure, report, title)
    else:
        layer = _layer(args, model)
        figure = new_figure(_WIDTH, height + _HISTOGRAM_HEIGHT)
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[height, _HISTOGRAM_HEIGHT])
        draw_layers(parts[0, 0], report, title, marked=args.layer)
        draw_histogram(parts[1, 0], layer)
    save_figure(figure, args.output)
    progress(f"wrote {args.output}")
    return 0


def _layer(args: argparse.Namespace, model: CompressedModel) -> LayerWeights:
    """The layer that --layer names, with its weights from the --weights file."""
    tensor = model.tensors.get(args.layer)
    if not isinstance(tensor, QuantizedTensor):
        raise ValueError(f"--layer {args.layer!r}: {args.file} has no quantized tensor of this name: see opq inspect")
    source = load_source(args.weights)
    tensors = source.tensors if isinstance(source, Model) else source
    if args.layer not in tensors:
        raise ValueError(f"{args.weights}: there is no tensor {args.layer!r}: expected the network that was compressed")
    weights = as_weights(args.layer, tensors[args.layer])
    try:
        return layer_weights(args.layer, weights, tensor, _threshold(model, args.layer))
    except ValueError as error:
        raise ValueError(f"{args.weights}: {error}") from None


def _threshold(model: CompressedModel, name: str) -> float | None:
    [row] = [layer for layer in model.report["layers"] if layer["name"] == name]
    threshold: float | None = row["threshold"]
    return threshold
