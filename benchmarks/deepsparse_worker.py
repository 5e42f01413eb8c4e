"""Runs a network in DeepSparse once for every byte of standard input, and answers each with one: see deepsparse_engine.py.

ds/bin/python benchmarks/deepsparse_worker.py model.onnx inputs.npz THREADS
"""

import os
import sys

import numpy as np
from deepsparse.engine import Engine


def main() -> None:
    """Load, answer once, then run."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever the engine prints is no answer
    model, path, threads = sys.argv[1:]
    with np.load(path) as archive:
        inputs = [archive[name] for name in archive.files]
    engine = Engine(model, batch_size=len(inputs[0]), num_cores=int(threads))
    if engine.fraction_of_supported_ops < 1.0:
        print(f"{engine.fraction_of_supported_ops:.0%} of the operators are DeepSparse's own, ONNX Runtime has the others")
    os.write(answers, b".")
    while os.read(0, 1):
        engine.run(inputs)
        os.write(answers, b".")


if __name__ == "__main__":
    main()
