"""A network of 100 million weights: how long it takes to encode and to load, and what memory loading takes.

python benchmarks/coding_large.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.coding_tensors import tensors
from opq import _core
from opq.benchmark import Engine, Run, measure
from opq.cli.tables import format_table, progress
from opq.compressed import CompressedModel
from opq.graph import Graph, Node, ValueInfo
from opq.quantization import QuantizedTensor
from opq.threads import available_cores

LAYERS = 24
HEADER = ["M weights", "threads", "encode, s", "file, MB", "load, s", "packed, MB", "peak above the file while loading, MB"]


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--load"]:
        print(load(sys.argv[2]))
        return
    print(format_table(HEADER, [measure_large()]))


def measure_large() -> list[str]:
    """The row of HEADER. The network is a chain of fully connected layers of 2048 x 2048 Laplace weights at 80 % zeros."""
    progress("a network of 100 M weights")
    threads = available_cores()
    model = network()
    started = time.perf_counter()
    model.encode(lambda done, total: None)
    seconds = time.perf_counter() - started
    weights = sum(tensor.codes.size for tensor in model.values() if isinstance(tensor, QuantizedTensor))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.opq"
        model.save(file)
        loaded = subprocess.run([sys.executable, __file__, "--load", file], check=True, stdout=subprocess.PIPE)
    load, packed, peak = loaded.stdout.decode().split()
    return [
        f"{weights / 1e6:.0f}", str(threads), f"{seconds:.1f}", f"{model.file_bytes / 1e6:.1f}", load, packed, peak,
    ]  # fmt: skip


def load(file: str) -> str:
    """Seconds, megabytes packed and megabytes at the peak above the file's bytes, in a process that has done nothing else."""
    data = Path(file).read_bytes()
    loaded: list[_core.Network] = []

    def run() -> Run:
        loaded.append(_core.Network(data, available_cores()))
        return lambda: None

    [timing] = measure([Engine("opq", run)], 0, 1)
    peak = "-" if timing.peak_memory is None else f"{timing.peak_memory / 1e6:.0f}"
    return f"{timing.init / 1e3:.2f} {loaded[0].packed_bytes / 1e6:.0f} {peak}"


def network() -> CompressedModel:
    """The chain, every layer's codes in another place."""
    [codes] = tensors("laplace_80_7").values()
    layers = {f"w{i}": QuantizedTensor(np.roll(codes, i * 1009), 0.125, 7) for i in range(LAYERS)}
    nodes = tuple(Node("Linear", f"linear{i}", (f"x{i}", f"w{i}"), (f"x{i + 1}",)) for i in range(LAYERS))
    inputs, outputs = (ValueInfo(name, "float32", (1, 2048)) for name in ("x0", f"x{LAYERS}"))
    return CompressedModel(Graph((inputs,), (outputs,), nodes), layers)


if __name__ == "__main__":
    main()
