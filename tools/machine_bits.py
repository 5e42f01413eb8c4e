"""The core's outputs of random networks as files, so that another machine can check that it computes the same bits.

    python tools/machine_bits.py write FOLDER      on one machine
    python tools/machine_bits.py check FOLDER      on the other: every instruction set that it has

A NaN is one wherever it is: which of the many NaNs an operation without a result gives depends on the machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from networks import random_networks

import opq
from opq import _core

EXAMPLES = 100


def outputs(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """The core's, with one NaN for all."""
    results = opq.Session(path, threads=2).run(None, {"x": x})
    return [np.where(np.isnan(y), np.float32(np.nan), y) for y in results]


def write(folder: Path) -> None:
    """One .opq and one .npz file per network."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    count = 0

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
    @given(network=random_networks())
    def write_one(network):
        nonlocal count
        model, x = network
        path = folder / f"{count}.opq"
        path.write_bytes(model.to_bytes())
        np.savez(path.with_suffix(".npz"), x, *outputs(path, x))
        count += 1

    write_one()


def check(folder: Path) -> None:
    """Ends the process with the first difference."""
    paths = sorted(folder.glob("*.opq"))
    for isa in _core.supported_isas():
        os.environ["OPQ_ISA"] = isa
        for path in paths:
            with np.load(path.with_suffix(".npz")) as archive:
                x, *expected = archive.values()
            for i, (y, z) in enumerate(zip(outputs(path, x), expected, strict=True)):
                if y.tobytes() != z.tobytes():
                    sys.exit(f"{path}: output {i} has other bits with {isa}")
        print(f"{isa}: {len(paths)} networks, the same bits")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
