"""`opq pareto`: size against error over the whole range of budgets."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from opq.cli.sources import load_source
from opq.cli.tables import format_table, number, print_json, progress, quiet
from opq.errors import BudgetError
from opq.pareto import ParetoFront, ParetoPoint, pareto_front
from opq.plotting import check_picture, draw_pareto, new_figure, save_figure

_EPILOG = """\
The curve is predicted from one pass over the weights; the points on it are files that were encoded and measured. error =
squared error over squared weights, the mean of the quantized layers. Nothing but the picture is written.

examples:
  opq pareto net.onnx -o curve.png
  opq pareto net.onnx -o curve.svg --ratio 12          # marks what `opq compress --ratio 12` gives
  opq pareto net.onnx --size 2MB --json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "pareto",
        help="show size against error for every budget",
        description="Show the sizes that a network can be compressed to, and the error of its weights at each.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help=".onnx, .safetensors or .npz file")
    parser.add_argument("-o", "--output", help=".png, .svg or .pdf file to write")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--ratio", type=float, help="mark this budget: dense bytes over file bytes")
    budget.add_argument("--size", help="mark this budget: bytes of the file, e.g. 2MB")
    parser.add_argument("--files", type=int, default=8, help="files to encode along the curve (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print all points as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sweep, print the points, and draw them."""
    started = time.perf_counter()
    if args.files < 0:
        raise ValueError(f"--files {args.files}: expected 0 or more")
    if args.output is not None:
        check_picture(args.output)
    say = quiet if args.json else progress
    say(f"reading {args.source}")
    source = load_source(args.source)
    try:
        front = pareto_front(source, ratio=args.ratio, size=args.size, files=args.files, progress=say)
    except BudgetError:  # about the options
        raise
    except ValueError as error:
        raise type(error)(f"{args.source}: {error}") from None
    if args.output is not None:
        figure = new_figure(7.6, 5.2)
        draw_pareto(figure, front, Path(args.source).name)
        save_figure(figure, args.output)
        say(f"wrote {args.output} in {time.perf_counter() - started:.1f} s")
    if args.json:
        print_json(asdict(front))
    else:
        print(_table(front))
    return 0


def _table(front: ParetoFront) -> str:
    """The files that were encoded; the predictions alone where there are none."""
    kind, points = ("real", front.real) if front.real else ("predicted", front.predicted)
    rows = [_row(kind, point) for point in points]
    if front.chosen is not None:
        rows.append(_row("chosen", front.chosen))
    return format_table(["point", "bytes", "ratio", "zeros", "error"], rows)


def _row(kind: str, point: ParetoPoint) -> list[str]:
    return [kind, f"{point.bytes:,.0f}", f"{point.ratio:.2f}", f"{point.sparsity:.3f}", number(point.error)]
