"""`opq run`: run a network on arrays from files."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.atomic import write_atomically
from opq.cli.sources import add_input_options, add_precision_option, load_inputs
from opq.cli.tables import print_json, printable, shape
from opq.npz_io import save_npz
from opq.session import Session

_EPILOG = """\
examples:
  opq run net.opq --input x.npy --output y.npy
  opq run net.opq --input inputs.npz --output outputs.npz
  opq run net.opq --precision int8 --input x.npy   # activations as integers
  opq run net.opq                                  # random input: shows the outputs' shapes and ranges
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "run",
        help="run a network",
        description="Run an .opq file on arrays from an .npy or .npz file, or on random numbers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help=".opq file")
    add_input_options(parser)
    add_precision_option(parser)
    parser.add_argument("--output", help=".npy (one output) or .npz file to write")
    parser.add_argument(
        "--backend", choices=["core", "reference"], default="core", help="compiled core or NumPy (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print shapes and ranges as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run once, print a line per output, and write the arrays."""
    session = Session(args.file, threads=args.threads, precision=args.precision, backend=args.backend)
    inputs = load_inputs(args.input, session.get_inputs(), args.batch, args.seed)
    names = [output.name for output in session.get_outputs()]
    results = dict(zip(names, session.run(None, inputs), strict=True))
    if args.output is not None:
        if Path(args.output).suffix.lower() == ".npz":
            save_npz(args.output, results)
        elif len(results) == 1:
            _save(args.output, next(iter(results.values())))
        else:
            raise ValueError(f"{args.output}: the network has {len(results)} outputs: name an .npz file")
    ranges = {
        name: {"min": _finite(y.min()), "mean": _finite(y.mean()), "max": _finite(y.max())} for name, y in results.items()
    }
    if args.json:
        outputs = [{"name": n, "dtype": str(y.dtype), "shape": list(y.shape), **ranges[n]} for n, y in results.items()]
        print_json({"outputs": outputs})
    else:
        for name, y in results.items():
            values = "  ".join(f"{key} {value}" for key, value in ranges[name].items())
            print(f"{printable(name)}  {y.dtype} {shape(y.shape)}  {values}")
    return 0


def _finite(value: np.generic) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(f"{float(value):.6g}") if np.isfinite(value) else None


def _save(path: str, array: npt.NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomically(path, buffer.getvalue())
