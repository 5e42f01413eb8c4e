"""`opq bench`: latency, per-layer times and memory, beside other engines in the same run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from opq import _core
from opq.benchmark import PEERS, Engine, LayerTiming, Run, Timing, export_dense, layer_timings, measure, peer
from opq.cli.sources import add_input_options, add_precision_option, load_inputs
from opq.cli.tables import format_table, number, print_json, printable, progress, quiet, shape
from opq.errors import UnsupportedError
from opq.reference.container import read_container
from opq.reference.graph_section import read_graph
from opq.session import Session, argument, checked_inputs
from opq.source import errors_named, read_source
from opq.threads import checked_threads

_PROFILED_RUNS = 20  # at most

_EPILOG = """\
Other engines run the same weights as a plain dense ONNX model in float32, in the same process, in turns with this one.
GMAC/s counts the multiply-adds with nonzero weights alone; its share is of what the threads reach with everything in the
cache: a dense kernel, for int16 the sparse one. Peak memory is what loading and the first run add to the process;
what an engine's package takes when it is imported is not in it.

examples:
  opq bench net.opq
  opq bench net.opq --precision int8 --threads 2
  opq bench net.opq --threads 2 --against onnxruntime,openvino,mnn --json
  opq bench net.opq --precision int8 --plan
  opq bench net.opq --precision int8 --plan --kernel conv1=sparse
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "bench",
        help="measure latency, layer by layer and beside other engines",
        description="Measure the latency of a network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help=".opq file")
    add_input_options(parser)
    add_precision_option(parser)
    parser.add_argument(
        "--against", metavar="ENGINES", default="", help=f"other engines to run beside, with commas between: {', '.join(PEERS)}"
    )
    parser.add_argument(
        "--plan", action="store_true", help="show how the kernel of each layer was chosen: what each should take on one thread"
    )
    parser.add_argument(
        "--kernel", metavar="LAYER=KERNEL", action="append", default=[], dest="kernels",
        help="use this kernel for the layer: sparse, dense, 4-bit, depthwise; may be given several times",
    )  # fmt: skip
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
    peers = [peer(name) for name in dict.fromkeys(name.strip() for name in args.against.split(",")) if name]
    kernels = dict(_kernel(text) for text in args.kernels)
    inputs = _inputs(args)
    sessions: list[Session] = []

    def load_own() -> Run:
        sessions.append(Session(args.file, threads=threads, precision=args.precision, kernels=kernels))
        return lambda: sessions[-1].run(None, inputs)

    engines = [Engine(f"opq {args.precision}", load_own)]
    with tempfile.TemporaryDirectory() as folder:
        if peers:
            say("exporting the dense model")
            path = str(Path(folder) / "dense.onnx")
            # In a process of its own: memory that it leaves free here would hide what the engines need.
            with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
                pool.submit(export_dense, args.file, {name: x.shape for name, x in inputs.items()}, path).result()
            engines += [make(path, inputs, threads) for make in peers]
        say(f"timing {args.runs} runs on {threads} threads")
        timings = measure(engines, args.warmup, args.runs)
    [session] = sessions
    layers = _layers(session, inputs, min(args.runs, _PROFILED_RUNS))
    peak = threads * _core.peak_products(args.precision) / 1e9
    trip = _core.round_trip_seconds() if threads > 1 else None
    if args.json:
        print_json({
            "threads": threads, "precision": args.precision, "instruction_set": session.instruction_set,
            "inputs": {name: list(x.shape) for name, x in inputs.items()},
            "engines": [vars(timing) for timing in timings], "layers": [vars(layer) for layer in layers], "peak_gmacs": peak,
            "round_trip_ns": None if trip is None else 1e9 * trip,
        })  # fmt: skip
        return 0
    print(_plan_table(layers) if args.plan else _layer_table(layers, peak), end="\n\n")
    print(_engine_table(timings))
    sizes = ", ".join(f"{printable(name)} {shape(x.shape)}" for name, x in inputs.items())
    apart = "" if trip is None else f" {1e9 * trip:.0f} ns apart (a cache line from core to core and back)"
    print(f"\n{args.runs} runs, {threads} threads{apart}, {session.instruction_set}, input {sizes}")
    for other in timings[1:]:
        print(f"{timings[0].engine} takes {number(timings[0].median / other.median)} of the time of {other.engine}")
    return 0


def _inputs(args: argparse.Namespace) -> dict[str, Any]:
    """The inputs for a file whose sections alone are read: loading the network is what will be measured."""
    with errors_named(args.file):
        section = read_container(read_source(args.file), _core.crc32c).get(b"GRPH")
        if section is None:
            raise UnsupportedError("tensors without a graph: there is nothing to run")
        infos = read_graph(section).inputs
    return checked_inputs(infos, load_inputs(args.input, [argument(i) for i in infos], args.batch, args.seed))


def _kernel(text: str) -> tuple[str, str]:
    """A layer and the kernel for it."""
    layer, equals, kernel = text.rpartition("=")
    if not equals:
        raise ValueError(f"--kernel {text}: expected LAYER=KERNEL")
    return layer, kernel


def _layers(session: Session, inputs: dict[str, Any], runs: int) -> list[LayerTiming]:
    profiles = []
    for _ in range(runs):
        session.run(None, inputs)
        profiles.append(session.profile())
    return layer_timings(profiles, session.plan())


def _layer_table(layers: Sequence[LayerTiming], peak: float) -> str:
    total = sum(layer.ms for layer in layers) or 1.0
    rows = [
        [
            layer.name, layer.op, layer.kernel, shape(layer.shape),
            "-" if layer.sparsity is None else f"{100 * layer.sparsity:.1f}",
            f"{layer.ms:.3f}", f"{100 * layer.ms / total:.1f}",
            *(("-", "-") if layer.gmacs is None else (f"{layer.gmacs:.1f}", f"{100 * layer.gmacs / peak:.0f}")),
        ]
        for layer in layers
    ]  # fmt: skip
    return format_table(["layer", "op", "kernel", "output", "zeros %", "ms", "time %", "GMAC/s", "peak %"], rows, left=4)


def _plan_table(layers: Sequence[LayerTiming]) -> str:
    """Milliseconds by kernel, as the model expects them of one thread, beside those measured."""
    kernels = ("sparse", "dense", "4-bit", "depthwise")
    rows = []
    for layer in layers:
        if layer.plan is None or layer.sparsity is None:
            continue
        plan, estimates = layer.plan, layer.estimates
        kernel = plan["kernel"] + (" (asked for)" if plan["wanted"] else "")
        rows.append([
            layer.name, plan["precision"], kernel, f"{plan['rows']}x{plan['depth']}", str(layer.pixels),
            f"{100 * layer.sparsity:.1f}", str(plan["largest_code"] or "-"),
            *(f"{estimates[kernel]:.3f}" if kernel in estimates else "-" for kernel in kernels), f"{layer.ms:.3f}",
        ])  # fmt: skip
    header = ["layer", "precision", "kernel", "weights", "pixels", "zeros %", "K", *(f"{k} ms" for k in kernels), "measured ms"]
    return format_table(header, rows, left=4)


def _engine_table(timings: Sequence[Timing]) -> str:
    rows = [
        [t.engine, *(f"{v:.2f}" for v in (t.median, t.p90, t.p99, t.minimum, t.first, t.init)),
         "-" if t.peak_memory is None else f"{t.peak_memory / 1e6:.1f}"]
        for t in timings
    ]  # fmt: skip
    return format_table(["engine", "median ms", "p90", "p99", "min", "first run", "init", "peak MB"], rows)
