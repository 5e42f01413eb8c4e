"""`opq inspect`: what is in an .opq file."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict, fields

from opq.cli.report_tables import layer_table, totals_lines
from opq.cli.tables import format_table, print_json, printable, shape
from opq.compressed import CompressedModel, load
from opq.quantization import QuantizedTensor
from opq.sections import CodeBytes, code_bytes, file_parts

_EPILOG = """\
columns: sparsity = share of zeros; threshold and step in units of the channel's scale; codebook = number of levels;
bits = of a fixed-length code of the survivors; error = squared error over squared weights. What was predicted stands beside
what was measured.

examples:
  opq inspect net.opq
  opq inspect net.opq --sections
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
    parser.add_argument("--sections", action="store_true", help="show what the bytes of the file are for")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report, the dense tensors, and the network's inputs and outputs."""
    model = load(args.file)
    report = model.report
    dense = {name: t for name, t in model.tensors.items() if not isinstance(t, QuantizedTensor)}
    infos = {} if model.graph is None else {"input": model.graph.inputs, "output": model.graph.outputs}
    codes = code_bytes(model) if args.sections else {}
    if args.json:
        tensors = [
            {"name": n, "dtype": str(t.dtype), "shape": list(t.shape), "codec": e.codec, "bytes": e.bytes}
            for n, t, e in ((n, t, model.entries[n]) for n, t in dense.items())
        ]
        values: dict[str, object] = {
            f"{kind}s": [{"name": info.name, "type": info.type, "shape": list(info.shape)} for info in some]
            for kind, some in infos.items()
        }
        if args.sections:
            values["sections"] = [{"name": name, "bytes": size} for name, size in file_parts(model, codes).items()]
            values["codes"] = [{"name": name, **asdict(parts)} for name, parts in codes.items()]
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
    if args.sections:
        print(_sections_tables(model, {layer["name"]: codes[layer["name"]] for layer in report["layers"]}), end="\n\n")
    print("\n".join(totals_lines(report)))
    return 0


def _sections_tables(model: CompressedModel, codes: dict[str, CodeBytes]) -> str:
    """The bytes of every layer's codes by what they say, and of the file by what they are for."""
    columns = [field.name for field in fields(CodeBytes)]
    header = ["codes of", *(name.replace("_", " ") for name in columns), "all", "all/entropy"]
    rows = []
    for name, layer in codes.items():
        values = [getattr(layer, column) for column in columns]
        total = sum(values) - layer.entropy
        share = f"{total / layer.entropy:.3f}" if layer.entropy else "-"
        rows.append([name, *(f"{value:,.0f}" for value in values), f"{total:,.0f}", share])
    layers = format_table(header, rows, left=1) + "\n\n" if rows else ""
    parts = file_parts(model, codes)
    entropy = sum(layer.entropy for layer in codes.values())
    lines = [[name, f"{size:,.0f}", f"{100.0 * size / model.file_bytes:.2f} %"] for name, size in parts.items()]
    lines.append(["file", f"{model.file_bytes:,}", "100 %"])
    lines.append(["(zero-order entropy of the codes)", f"{entropy:,.0f}", f"{100.0 * entropy / model.file_bytes:.2f} %"])
    return layers + format_table(["part of the file", "bytes", "share"], lines, left=1)
