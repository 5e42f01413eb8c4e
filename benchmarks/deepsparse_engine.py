"""DeepSparse 1.8, the last version, in a process of its own: it wants older packages than the other engines.

python3.11 -m venv ds && ds/bin/pip install deepsparse==1.8.0
python benchmarks/networks.py --deepsparse ds/bin/python
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from opq.benchmark import Engine, Run

_WORKER = Path(__file__).with_name("deepsparse_worker.py")


def engine(python: str | None, model: str, inputs: str, threads: int) -> Engine:
    """An engine on an ONNX file with the arrays of an .npz file; a run is one line to the process and one back.

    Raises ImportError, saying what is missing, for an interpreter that cannot run it.
    """
    if python is None:
        raise ImportError("give --deepsparse PYTHON, an interpreter that has deepsparse==1.8.0")
    # Without the first it reports its use over the network. without_avx512.py sets the path of a copy.
    path = os.environ.get("DEEPSPARSE_PYTHONPATH", "")
    environment = {**os.environ, "NM_DISABLE_ANALYTICS": "True", "PYTHONPATH": path}
    try:
        subprocess.run(
            [python, "-c", "import deepsparse.engine"], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
    except OSError as error:
        raise ImportError(f"{python}: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        raise ImportError(f"{python}: {''.join(error.stderr.strip().splitlines()[-1:])}") from None

    def load() -> Run:
        process = subprocess.Popen(
            [python, str(_WORKER), model, inputs, str(threads)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            bufsize=0,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        sent, answers = process.stdin, process.stdout

        def answer() -> None:
            if answers.read(1) != b".":
                raise RuntimeError(f"{_WORKER.name} ended with status {process.wait()}")

        def run() -> None:
            sent.write(b".")
            answer()

        answer()
        return run

    return Engine("deepsparse", load)
