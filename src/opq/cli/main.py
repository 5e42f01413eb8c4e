"""Argument parsing and errors: every expected failure is one line on standard error and exit status 1."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import opq
from opq.cli import bench, compare, compress, export, inspect, pareto, plot, run, verify
from opq.cli.tables import printable

_EPILOG = """\
examples:
  opq compress net.onnx -o net.opq --ratio 12
  opq inspect net.opq
  opq run net.opq --input x.npy --output y.npy
  opq verify net.opq --onnx net.onnx
  opq bench net.opq --threads 2 --against onnxruntime,openvino
  opq export net.opq -o small.onnx
  opq pareto net.onnx -o curve.png --ratio 12
  opq plot net.opq -o layers.png
  opq compare net.onnx net.opq
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="opq",
        description="One-shot pruning and quantization of trained networks, and their inference on a CPU.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"opq {opq.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for module in (compress, inspect, run, verify, bench, export, pareto, plot, compare):
        module.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 for a failure, 2 for wrong usage, 130 when interrupted."""
    args = build_parser().parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("opq: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:  # the reader of standard output has enough
            _drop_output()
            return 0
        print(f"opq: {_one_line(error)}", file=sys.stderr)
        _drop_output()
        return 1
    except MemoryError:
        print("opq: not enough memory", file=sys.stderr)
        return 1


def _drop_output() -> None:
    """What standard output does not take is dropped, so that the interpreter's own flush at the end does not complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    return printable(" ".join(str(error).split())) or type(error).__name__
