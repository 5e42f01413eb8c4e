"""MNN, CPU backend.

Its own package of tools is left alone: importing it installs other packages. The converter is the native module beside it.
Both write to standard output from C++.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from opq.benchmark.engines import Inputs
from opq.benchmark.timing import Engine, Run


@contextmanager
def _output_as_errors() -> Iterator[None]:
    """What C++ writes to standard output goes to standard error: the output is the caller's, and may have to be JSON."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


with _output_as_errors():
    from MNN import expr, nn


def engine(model: str, inputs: Inputs, threads: int, options: tuple[str, ...] = ()) -> Engine:
    """As `opq.benchmark.engines.MakeEngine` says; `model` is converted, to a file beside it.

    options  further ones of the converter
    """
    for name, array in inputs.items():
        if array.dtype.name != "float32":
            raise ValueError(f"engine mnn: input {name!r} is {array.dtype}, and only float32 is measured")
    converted = convert(model, options)

    def load() -> Run:
        with _output_as_errors():
            runtime = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
            module = nn.load_module_from_file(converted, list(inputs), [], runtime_manager=runtime)
        values = [expr.const(array, list(array.shape), expr.NCHW) for array in inputs.values()]
        return lambda: [output.read() for output in module.forward(values)]

    return Engine(f"mnn {version('MNN')} dense float32", load)


def convert(model: str, options: tuple[str, ...] = ()) -> str:
    """The path of the .mnn file. In a process of its own, whose memory is gone afterwards."""
    target = f"{model}.mnn"
    code = "import sys, _tools; _tools.mnnconvert(sys.argv)"
    arguments = ["-f", "ONNX", "--modelFile", model, "--MNNModel", target, "--bizCode", "opq", *options]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if not Path(target).exists():
        last = (result.stdout + result.stderr).strip().splitlines()[-1:]
        raise ValueError(f"{model}: MNN does not convert it: {''.join(last)}")
    return target
