"""`opq verify`: the core against the reference, the compressed network against the dense one."""

from __future__ import annotations

import argparse
import math
from typing import Any

from opq.cli.sources import add_input_options, add_precision_option, load_inputs
from opq.cli.tables import format_table, number, print_json, printable, progress, quiet
from opq.compressed import load
from opq.integer_verification import verify_integers
from opq.onnx_import import load_onnx
from opq.session import Session
from opq.threads import checked_threads
from opq.verification import OutputDifference, Verification, compare_outputs, verify

_EPILOG = """\
Every node of the compiled core is compared with the NumPy reference on the core's own inputs; "of bound" is the largest
share that any element uses of the error bound, which follows from the number of terms: 1 or less passes. Exit status 1 if a
node fails. With --precision int8 or int16 every compressed layer, with the activation behind it, must give the reference's
bits; the outputs of this precision are then compared with those in float32.

examples:
  opq verify net.opq
  opq verify net.opq --precision int8
  opq verify net.opq --onnx net.onnx --input x.npy --batch 4
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "verify",
        help="check the core against the reference and the dense network",
        description="Check the compiled core against the reference, and the compressed network against the dense one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help=".opq file")
    parser.add_argument("--onnx", help="the dense network that was compressed: compares the outputs")
    add_input_options(parser)
    add_precision_option(parser)
    parser.add_argument("--all", action="store_true", help="a line for every node, not one per operator")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify and print; 1 if anything is outside its bound."""
    say = quiet if args.json else progress
    threads = checked_threads(args.threads)
    model = load(args.file)
    session = Session(model, threads=threads, precision=args.precision)
    inputs = session.checked_inputs(load_inputs(args.input, session.get_inputs(), args.batch, args.seed))
    names = [output.name for output in session.get_outputs()]
    differences: dict[str, list[OutputDifference]] = {}
    if args.precision == "float32":
        result = verify(model, inputs, threads, say)
    else:
        result = verify_integers(model, inputs, args.precision, threads, say)
        exact = Session(model, threads=threads).run(names, inputs)
        differences[f"{args.precision} against float32"] = compare_outputs(names, exact, session.run(names, inputs))
    if args.onnx is not None:
        say(f"running {args.onnx} dense")
        dense = Session(load_onnx(args.onnx), threads=threads).run(names, inputs)
        differences["compressed against dense"] = compare_outputs(names, dense, session.run(names, inputs))
    if args.json:
        print_json(_plain(result, differences))
    else:
        print("\n".join(_lines(result, differences, args.all)))
    return 0 if result.passed else 1


def _lines(result: Verification, differences: dict[str, list[OutputDifference]], every_node: bool) -> list[str]:
    groups: dict[str, list[Any]] = {}
    for node in result.nodes:
        groups.setdefault(f"{node.op}  {node.name}" if every_node else node.op, []).append(node)
    rows = [
        [
            name, str(len(nodes)), str(sum(n.elements for n in nodes)), number(max(n.largest_error for n in nodes)),
            number(max(n.bound_share for n in nodes)), "ok" if all(n.passed for n in nodes) else "FAILED",
        ]
        for name, nodes in groups.items()
    ]  # fmt: skip
    lines = [format_table(["core against reference", "nodes", "elements", "largest error", "of bound", ""], rows)]
    if result.same_bits is not None:
        lines.append(f"fused and unfused runs: {'same bits' if result.same_bits else 'DIFFERENT BITS'}")
    for what, outputs in differences.items():
        for d in outputs:
            agreement = "" if d.agreement is None else f", same largest element in {100 * d.agreement:.1f} % of rows"
            lines.append(
                f"{what}, {printable(d.name)}: largest difference {number(d.largest)}, mean {number(d.mean)}, "
                f"signal to noise {d.signal_to_noise:.1f} dB{agreement}"
            )
    return lines


def _plain(result: Verification, differences: dict[str, list[OutputDifference]]) -> dict[str, Any]:
    """JSON has no infinity: null."""

    def finite(row: dict[str, Any]) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}

    return {
        "passed": result.passed,
        "same_bits": result.same_bits,
        "nodes": [finite(vars(node)) for node in result.nodes],
        "outputs": [{"what": what, **finite(vars(d))} for what, outputs in differences.items() for d in outputs],
    }
