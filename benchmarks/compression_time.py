"""How long `opq.compress` takes, what of that the entropy coder takes, and how much memory: once per process, on all cores.

    python benchmarks/compression_time.py [resnet-50 | 100M | model.onnx] [--ratio 12] [--rounding nearest | rate]

resnet-50 has its shapes and BatchNorms, and synthetic weights (`benchmarks/networks_of_the_paper.py`); 100M is a mapping of
ten matrices of 10 million weights. Memory is the largest resident size while compressing, weights included, beside the float
weights and the result (its codes and its file). Linux only.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks.networks_of_the_paper import build
from opq.threads import available_cores

MIB = float(1 << 20)


def main() -> None:
    """Compress and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="resnet-50")
    parser.add_argument("--ratio", type=float, default=12.0)
    parser.add_argument("--rounding", default="auto", choices=["auto", "nearest", "rate"])
    args = parser.parse_args()
    source = load(args.network)
    encodings: list[str] = []
    profile = cProfile.Profile()
    Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is the present one
    resident = status("VmRSS")
    start = time.perf_counter()
    result = profile.runcall(opq.compress, source, ratio=args.ratio, rounding=args.rounding, progress=encodings.append)
    seconds = time.perf_counter() - start
    added = status("VmHWM") - resident
    weights = 4.0 * sum(np.size(tensor) for tensor in result.dense_tensors().values()) / MIB
    codes = sum(t.size for t in result.tensors.values() if isinstance(t, opq.QuantizedTensor)) / MIB
    file = result.file_bytes / MIB
    print(f"{args.network}, ratio {args.ratio:g}, rounding {args.rounding}, {available_cores()} cores")
    print(f"seconds        {seconds:.2f}, of these in the entropy coder {coder_seconds(profile):.2f}")
    print(f"files encoded  {sum(line.startswith('encoding') and 'of the target' in line for line in encodings)}")
    print(f"MiB            {weights + added:.0f} at most; weights {weights:.0f}, codes {codes:.0f}, file {file:.1f}")
    print(f"               {(weights + added - codes - file) / weights:.2f} times the weights, plus the result")


def load(network: str) -> opq.Model | Mapping[str, npt.ArrayLike]:
    """What is compressed."""
    if network == "100M":
        rng = np.random.default_rng(0)
        return {f"w{i}": rng.standard_normal((2500, 4000), dtype=np.float32) for i in range(10)}
    return opq.load_onnx(network if network.endswith(".onnx") else build(network))


def coder_seconds(profile: cProfile.Profile) -> float:
    """Seconds in the core's encoder, its estimates included."""
    timings = pstats.Stats(profile).stats
    functions = ("encode_codes", "estimate_codes")
    return sum(float(entry[2]) for (_, _, name), entry in timings.items() if any(function in name for function in functions))


def status(field: str) -> float:
    """Of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:"))) / 1024.0


if __name__ == "__main__":
    main()
