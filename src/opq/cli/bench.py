"""`opq bench`: latency, per-layer profile and memory, beside another engine in the same run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from opq import _core
from opq.benchmark import Engine, Run, measure, onnxruntime_engine
from opq.cli.sources import add_input_options, load_inputs
from opq.cli.tables import format_table, number, print_json, printable, progress, quiet, shape
from opq.compressed import load
from opq.errors import UnsupportedError
from opq.onnx_export import export_onnx
from opq.reference.container import read_container
from opq.reference.graph_section import read_graph
from opq.session import Session, argument, checked_inputs
from opq.source import errors_named, read_source
from opq.threads import checked_threads

_EPILOG = """\
The other engine runs the same weights as a plain dense ONNX model, in the same process, in turns with this one.

examples:
  opq bench net.opq
  opq bench net.opq --threads 2 --against onnxruntime --json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "bench",
        help="measure latency, layer by layer and beside another engine",
        description="Measure the latency of a network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help=".opq file")
    add_input_options(parser)
    parser.add_argument("--against", choices=["onnxruntime"], help="another engine to run beside")
    parser.add_argument("--runs", type=int, default=50, help="timed runs (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=5, help="runs before them (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.runs < 1 or args.warmup < 0:
        raise ValueError(f"--runs {args.runs} --warmup {args.warmup}: expected at least 1 and 0")
    say = quiet if args.json else progress
    threads = checked_threads(args.threads)
    inputs = _inputs(args)
    sessions: list[Session] = []

    def load_own() -> Run:
        sessions.append(Session(args.file, threads=threads))
        return lambda: sessions[-1].run(None, inputs)

    engines = [Engine("opq", load_own)]
    with tempfile.TemporaryDirectory() as folder:
        if args.against is not None:
            say("exporting the dense model")
            path = str(Path(folder) / "dense.onnx")
            # In a process of its own: memory that it leaves free here would hide what the engines need.
            _in_a_child(export_dense, args.file, path)
            engines.append(onnxruntime_engine(path, inputs, threads))
        say(f"timing {args.runs} runs on {threads} threads")
        timings = measure(engines, args.warmup, args.runs)
    profile = sessions[-1].profile()
    if args.json:
        print_json({
            "threads": threads, "instruction_set": sessions[-1].instruction_set, "engines": [vars(t) for t in timings],
            "inputs": {name: list(x.shape) for name, x in inputs.items()}, "profile": profile,
        })  # fmt: skip
        return 0
    print(_profile_table(profile), end="\n\n")
    rows = [
        [t.engine, *(f"{v:.2f}" for v in (t.median, t.p90, t.p99, t.minimum, t.first, t.init)),
         "-" if t.peak_memory is None else f"{t.peak_memory / 1e6:.1f}"]
        for t in timings
    ]  # fmt: skip
    header = ["engine", "median ms", "p90", "p99", "min", "first run", "init", "peak MB"]
    print(format_table(header, rows))
    sizes = ", ".join(f"{printable(name)} {shape(x.shape)}" for name, x in inputs.items())
    print(f"\n{args.runs} runs, {threads} threads, {sessions[-1].instruction_set}, input {sizes}")
    if len(timings) > 1:
        print(f"opq takes {number(timings[0].median / timings[1].median)} of the time of {timings[1].engine}")
    return 0


def _inputs(args: argparse.Namespace) -> dict[str, Any]:
    """The inputs for a file whose sections alone are read: loading the network is what will be measured."""
    with errors_named(args.file):
        section = read_container(read_source(args.file), _core.crc32c).get(b"GRPH")
        if section is None:
            raise UnsupportedError("tensors without a graph: there is nothing to run")
        infos = read_graph(section).inputs
    return checked_inputs(infos, load_inputs(args.input, [argument(i) for i in infos], args.batch, args.seed))


def export_dense(source: str, target: str) -> None:
    """Writes the network of an .opq file as a dense ONNX model."""
    model = load(source)
    assert model.graph is not None
    export_onnx(model.graph, model.dense_tensors(), target)


def _in_a_child(function: Callable[[str, str], None], source: str, target: str) -> None:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        pool.submit(function, source, target).result()


def _profile_table(profile: list[dict[str, Any]]) -> str:
    total = sum(step["seconds"] for step in profile) or 1.0
    rows = [
        [
            step["name"], step["op"], step["kernel"], shape(step["shape"]), f"{step['nonzeros']}" if step["nonzeros"] else "-",
            f"{1000 * step['seconds']:.3f}", f"{100 * step['seconds'] / total:.1f}",
        ]
        for step in profile
    ]  # fmt: skip
    return format_table(["layer", "op", "kernel", "output", "nonzeros", "ms", "%"], rows, left=4)
