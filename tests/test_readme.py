"""The README's code blocks run as they stand, one after another, in one folder that holds a `net.onnx`."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
from small_onnx import save_small_network

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    shape = save_small_network(tmp_path / "net.onnx")
    np.save("x.npy", np.zeros(shape, dtype=np.float32))
    ran = set()
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "README.md", "exec"), {})
            ran.add(language)
        elif language == "sh":
            for line in text.splitlines():
                command = shlex.split(line, comments=True)
                if command and command[0] == "opq":
                    subprocess.run(command, check=True, capture_output=True, timeout=120)
                    ran.add(command[1])
    assert ran == {"python", "compress", "inspect", "pareto", "plot", "compare", "run", "verify", "bench", "export"}


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
