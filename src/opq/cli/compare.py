"""`opq compare`: two versions of a network, layer by layer and at their outputs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from opq.cli.sources import add_input_options, load_inputs, load_source
from opq.cli.tables import format_table, number, print_json, printable, progress, quiet, shape
from opq.comparison import Network, TensorDifference, compare_tensors
from opq.compressed import CompressedModel, load
from opq.model import Model
from opq.session import Session
from opq.threads import checked_threads
from opq.verification import OutputDifference, compare_outputs

_EPILOG = """\
Tensors are matched by name. error = sum (a - b)^2 / sum a^2 of the values that the network computes with; bytes are those in
an .opq file, 4 per weight in any other.

examples:
  opq compare net.onnx net.opq
  opq compare a.opq b.opq --input x.npy
  opq compare a.opq b.opq --batch 4 --seed 1 --json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "compare",
        help="compare two versions of a network: weights and outputs",
        description="Compare the weights of two files, layer by layer, and the outputs where both are networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", help=".opq, .onnx, .safetensors or .npz file: what the differences are relative to")
    parser.add_argument("second", help=".opq, .onnx, .safetensors or .npz file")
    add_input_options(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    say = quiet if args.json else progress
    threads = checked_threads(args.threads)
    first, second = (_load(path, say) for path in (args.first, args.second))
    tensors = compare_tensors(first, second)
    outputs = _outputs(args, first, second, threads, say)
    if args.json:
        print_json({
            "tensors": [_finite({**asdict(t), "shape": list(t.shape)}) for t in tensors],
            "outputs": [_finite(vars(difference)) for difference in outputs],
        })  # fmt: skip
    else:
        print("\n".join(_lines(tensors, outputs)))
    return 0


def _load(path: str, say: Callable[[str], None]) -> Network:
    say(f"reading {path}")
    return load(path) if Path(path).suffix.lower() == ".opq" else load_source(path)


def _outputs(
    args: argparse.Namespace, first: Network, second: Network, threads: int, say: Callable[[str], None]
) -> list[OutputDifference]:
    """The differences of the outputs for the same inputs; none where a side is tensors without a graph."""
    networks = [n for n in (first, second) if isinstance(n, CompressedModel | Model) and n.graph is not None]
    if len(networks) < 2:
        if args.input is not None:
            raise ValueError("--input is for two networks: one of the files holds tensors without a graph")
        return []
    sessions = [Session(network, threads=threads) for network in networks]
    names = [[output.name for output in session.get_outputs()] for session in sessions]
    if names[0] != names[1]:
        raise ValueError(f"{args.second}: the outputs are {_listed(names[1])}, those of {args.first} are {_listed(names[0])}")
    inputs = load_inputs(args.input, sessions[0].get_inputs(), args.batch, args.seed)
    results = []
    for path, session in zip((args.first, args.second), sessions):
        say(f"running {path}")
        try:
            results.append(session.run(None, inputs))
        except ValueError as error:
            raise type(error)(f"{path}: {error}") from None
    for name, a, b in zip(names[0], *results, strict=True):
        if a.shape != b.shape:
            raise ValueError(f"output {name!r} is {shape(a.shape)} of {args.first} and {shape(b.shape)} of {args.second}")
    return compare_outputs(names[0], *results)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _lines(tensors: list[TensorDifference], outputs: list[OutputDifference]) -> list[str]:
    layers = [tensor for tensor in tensors if tensor.is_layer]
    others = [tensor for tensor in tensors if not tensor.is_layer]
    header = ["layer", "shape", "error", "zeros a", "zeros b", "bytes a", "bytes b"]
    lines = [format_table(header, [_row(tensor) for tensor in layers], left=2), ""]
    for which, some in (("layers", layers), ("other tensors", others)):
        sums = [sum(side.bytes for side in sides if side is not None) for sides in zip(*((t.first, t.second) for t in some))]
        if some:
            lines.append(f"{which:<14} {_summary(some)}; {sums[0]:,} bytes in a, {sums[1]:,} in b")
    for d in outputs:
        agreement = "" if d.agreement is None else f", same largest element in {100 * d.agreement:.1f} % of rows"
        lines.append(
            f"output {printable(d.name)}: largest difference {number(d.largest)}, mean {number(d.mean)}, "
            f"signal to noise {d.signal_to_noise:.1f} dB{agreement}"
        )
    return lines


def _row(tensor: TensorDifference) -> list[str]:
    sides = (tensor.first, tensor.second)
    zeros = ["-" if side is None else f"{side.sparsity:.3f}" for side in sides]
    sizes = ["-" if side is None else str(side.bytes) for side in sides]
    return [tensor.name, shape(tensor.shape), number(tensor.error), *zeros, *sizes]


def _summary(tensors: list[TensorDifference]) -> str:
    """How many there are, differ, and cannot be compared; the largest error."""
    errors = [tensor.error for tensor in tensors if tensor.error is not None]
    different = sum(error > 0.0 for error in errors)
    apart = len(tensors) - len(errors)
    text = f"{len(tensors)}, of which {different} differ, by at most {number(max(errors, default=0.0))}"
    return text + (f"; {apart} in one file only or of another shape" if apart else "")


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
