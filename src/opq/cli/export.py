"""`opq export`: the compressed weights for any other stack."""

from __future__ import annotations

import argparse
from pathlib import Path

from opq.cli.tables import progress
from opq.compressed import load
from opq.errors import UnsupportedError
from opq.npz_io import save_npz
from opq.onnx_export import export_onnx
from opq.safetensors_io import save_safetensors

_EPILOG = """\
examples:
  opq export net.opq -o small.onnx            # a plain dense model with the compressed weights' values
  opq export weights.opq -o weights.safetensors
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "export",
        help="write the compressed weights as a dense ONNX model, .safetensors or .npz",
        description="Write the compressed weights as a plain dense ONNX model, or as arrays.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help=".opq file")
    parser.add_argument("-o", "--output", required=True, help=".onnx, .safetensors or .npz file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export."""
    suffix = Path(args.output).suffix.lower()
    if suffix not in (".onnx", ".safetensors", ".npz"):
        raise ValueError(f"{args.output}: the ending {suffix!r} is unknown: expected .onnx, .safetensors or .npz")
    model = load(args.file)
    tensors = model.dense_tensors()
    if suffix == ".onnx":
        if model.graph is None:
            raise UnsupportedError(f"{args.file}: tensors without a graph: export to .safetensors or .npz")
        export_onnx(model.graph, tensors, args.output)
    elif suffix == ".npz":
        save_npz(args.output, tensors)
    else:
        save_safetensors(args.output, tensors)
    progress(f"wrote {args.output}")
    return 0
