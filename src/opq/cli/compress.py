"""`opq compress`: a network or a file of weights -> an .opq file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, get_args

from opq.cli.report_tables import layer_table, totals_lines
from opq.cli.sources import load_source
from opq.cli.tables import print_json, progress, quiet
from opq.compression import compress
from opq.errors import BudgetError
from opq.quantization import Rounding
from opq.rounding import DenseTensors

_EPILOG = """\
budgets (one of):
  --ratio 12                dense bytes (4 per float parameter) over file bytes
  --size 2MB                bytes of the file; kB, MB, GB are powers of ten, KiB, MiB, GiB of two
  --sparsity 0.8 --bits 4   a share of zeros over all layers, and 2^(bits-1) - 1 levels per sign
  --bits 4                  quantize only: keeps the zeros of a network that is already pruned

examples:
  opq compress net.onnx -o net.opq --ratio 12
  opq compress weights.safetensors -o weights.opq --size 2MB
  opq compress pruned.onnx -o pruned.opq --bits 4
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "compress",
        help="compress a network or a file of weights",
        description="Compress an .onnx network, or the arrays of a .safetensors or .npz file, from the weights alone.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help=".onnx, .safetensors or .npz file")
    parser.add_argument("-o", "--output", required=True, help=".opq file to write")
    parser.add_argument("--ratio", type=float, help="dense bytes over file bytes")
    parser.add_argument("--size", help="bytes of the file, e.g. 2MB")
    parser.add_argument("--sparsity", type=float, help="share of zeros, 0 to 1; needs --bits")
    parser.add_argument("--bits", type=int, help="bits of the codebook, 2 to 8")
    parser.add_argument(
        "--dense",
        choices=get_args(DenseTensors),
        default="auto",
        help="rounding of what is not quantized: scales and biases to float16 (auto), nothing, or every float tensor"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--rounding",
        choices=get_args(Rounding),
        default="nearest",
        help="codes nearest to the weights, or of the least error + lambda * bits (rate; for --ratio and --size)"
        " (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compress, save, and print the report."""
    started = time.perf_counter()
    if Path(args.output).exists() and Path(args.output).samefile(args.source):
        raise ValueError(f"{args.output}: the output is the source itself")
    say = quiet if args.quiet else progress
    say(f"reading {args.source}")
    source = load_source(args.source)
    try:
        result = compress(
            source, ratio=args.ratio, size=args.size, sparsity=args.sparsity, bits=args.bits, dense=args.dense,
            rounding=args.rounding, progress=say,
        )  # fmt: skip
    except BudgetError:  # about the options
        raise
    except ValueError as error:
        raise type(error)(f"{args.source}: {error}") from None
    result.save(args.output)
    say(f"wrote {args.output} in {time.perf_counter() - started:.1f} s")
    report: dict[str, Any] = result.report
    if args.json:
        print_json(report)
    elif not args.quiet:
        print(layer_table(report))
        print()
        print("\n".join(totals_lines(report)))
    return 0
