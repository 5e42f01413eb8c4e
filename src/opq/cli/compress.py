"""`opq compress`: a network or a file of weights -> an .opq file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, get_args

from opq.cli.compression_page import check_page, write_page
from opq.cli.report_tables import layer_table, totals_lines
from opq.cli.sources import load_source
from opq.cli.tables import print_json, progress, quiet
from opq.compression import compress
from opq.errors import BudgetError
from opq.npz_io import load_npz
from opq.quantization import Rounding
from opq.rounding import DenseTensors
from opq.weighting import Name

_EPILOG = """\
budgets (one of):
  --ratio 12       dense bytes (4 per float parameter) over file bytes
  --size 2MB       bytes of the file; kB, MB, GB are powers of ten, KiB, MiB, GiB of two
  --bits 4         2^(bits-1) - 1 levels per sign in every layer
  --mean-bits 4    codebooks of 2 to 8 bits, so many on average over the survivors
--ratio and --size decide as well what is pruned; --bits and --mean-bits keep the zeros of the network and prune nothing more.
Before any of them:
  --sparsity 0.8   a share of zeros over all layers
  --macs 0.15      a share of the multiply-adds to keep

examples:
  opq compress net.onnx -o net.opq --ratio 12
  opq compress weights.safetensors -o weights.opq --size 2MB
  opq compress pruned.onnx -o pruned.opq --bits 4
  opq compress net.onnx -o net.opq --ratio 12 --report report.html
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
    parser.add_argument("--sparsity", type=float, help="share of zeros, 0 to 1")
    parser.add_argument("--macs", type=float, help="share of the multiply-adds to keep, 0 to 1")
    parser.add_argument("--bits", type=int, help="bits of every codebook, 2 to 8")
    parser.add_argument("--mean-bits", type=float, help="bits of the codebooks on average over the survivors, 2 to 8")
    parser.add_argument(
        "--weighting",
        choices=[*get_args(Name), "sensitivity"],
        default="nsr",
        help="what a layer's error counts: see docs/method.md (default: %(default)s)",
    )
    parser.add_argument(
        "--skip", nargs="+", default=[], metavar="TENSOR", help="weights that stay dense, by name (opq inspect shows names)"
    )
    parser.add_argument(
        "--channel-scale",
        choices=["auto", "rms", "none"],
        default="auto",
        help="divide channels by their root mean squares (default: %(default)s: where no BatchNorm follows)",
    )
    parser.add_argument("--no-repair", action="store_true", help="leave scales and biases as they are in spite of BatchNorm")
    parser.add_argument(
        "--dense",
        choices=get_args(DenseTensors),
        default="auto",
        help="rounding of what is not quantized: scales and biases to float16 (auto), nothing, or every float tensor"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--rounding",
        choices=["auto", *get_args(Rounding)],
        default="auto",
        help="codes nearest to the weights, or of the least error + lambda * bits (rate; for --ratio and --size)"
        " (default: %(default)s: rate where BatchNorm repairs what it does to the outputs)",
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE.npz",
        help="inputs from which the ranges of activations are taken, for sessions of integer precision"
        " (default: they follow from BatchNorm's statistics)",
    )
    parser.add_argument("--report", help=".html page to write, with pictures; needs matplotlib")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compress, save, and print the report."""
    started = time.perf_counter()
    if Path(args.output).exists() and Path(args.output).samefile(args.source):
        raise ValueError(f"{args.output}: the output is the source itself")
    if args.report is not None:
        check_page(args.report, [args.source, args.output])
    say = quiet if args.quiet else progress
    say(f"reading {args.source}")
    source = load_source(args.source)
    try:
        result = compress(
            source, ratio=args.ratio, size=args.size, sparsity=args.sparsity, macs=args.macs, bits=args.bits,
            mean_bits=args.mean_bits, weighting=args.weighting, skip=args.skip, channel_scale=args.channel_scale,
            dense=args.dense, rounding=args.rounding, repair=not args.no_repair,
            calibration=None if args.calibration is None else load_npz(args.calibration), progress=say,
        )  # fmt: skip
    except BudgetError:  # about the options
        raise
    except ValueError as error:
        raise type(error)(f"{args.source}: {error}") from None
    result.save(args.output)
    say(f"wrote {args.output} in {time.perf_counter() - started:.1f} s")
    if args.report is not None:
        write_page(args.report, Path(args.output).name, source, result, _settings(args))
        say(f"wrote {args.report}")
    report: dict[str, Any] = result.report
    if args.json:
        print_json(report)
    elif not args.quiet:
        print(layer_table(report))
        print()
        print("\n".join(totals_lines(report)))
    return 0


def _settings(args: argparse.Namespace) -> dict[str, str]:
    """What was asked for, as the command line spells it."""
    others = ("command", "run", "report", "quiet", "json")
    return {name: str(value) for name, value in vars(args).items() if name not in others and value is not None}
