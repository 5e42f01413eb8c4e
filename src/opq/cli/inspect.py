"""`opq inspect`: what is in an .opq file."""

from __future__ import annotations

import argparse
from collections import Counter

from opq.cli.report_tables import layer_table, totals_lines
from opq.cli.tables import format_table, print_json, printable, shape
from opq.compressed import load
from opq.quantization import QuantizedTensor

_EPILOG = """\
columns: sparsity = share of zeros; threshold and step in units of the channel's scale; codebook = number of levels;
bits = of a fixed-length code of the survivors; error = squared error over squared weights. "predicted" stands beside
what was measured.

examples:
  opq inspect net.opq
  opq inspect net.opq --json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "inspect",
        help="show the layers and sizes of an .opq file",
        description="Show the layers and sizes of an .opq file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help=".opq file")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report, the dense tensors, and the network's inputs and outputs."""
    model = load(args.file)
    report = model.report
    dense = {name: t for name, t in model.tensors.items() if not isinstance(t, QuantizedTensor)}
    infos = {} if model.graph is None else {"input": model.graph.inputs, "output": model.graph.outputs}
    if args.json:
        tensors = [
            {"name": n, "dtype": str(t.dtype), "shape": list(t.shape), "codec": e.codec, "bytes": e.bytes}
            for n, t, e in ((n, t, model.entries[n]) for n, t in dense.items())
        ]
        values = {
            f"{kind}s": [{"name": info.name, "type": info.type, "shape": list(info.shape)} for info in some]
            for kind, some in infos.items()
        }
        print_json({**report, "dense_tensors": tensors, **values})
        return 0
    for kind, some in infos.items():
        for info in some:
            dims = shape(["?" if d is None else d for d in info.shape])
            print(printable(f"{kind:<12} {info.name}  {info.type}  {dims}"))
    if model.graph is not None:
        print(f"nodes        {len(model.graph.nodes)}\n")
    if report["layers"]:
        print(layer_table(report), end="\n\n")
    if dense and model.graph is None:
        rows = [
            [name, str(t.dtype), shape(t.shape), model.entries[name].codec, str(model.entries[name].bytes)]
            for name, t in dense.items()
        ]
        print(format_table(["dense tensor", "type", "shape", "codec", "bytes"], rows, left=4), end="\n\n")
    elif dense:
        entries = [model.entries[name] for name in dense]
        codecs = ", ".join(f"{count} {codec}" for codec, count in Counter(entry.codec for entry in entries).items())
        size = sum(entry.bytes for entry in entries)
        print(f"dense        {len(dense)} tensors, {size:,} bytes: {codecs} (biases, scales, small layers)")
    print("\n".join(totals_lines(report)))
    return 0
