"""What a table must say of the machine that it was measured on, and of the command that made it."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from opq import _core
from opq.threads import available_cores


def cpu_name() -> str:
    """The processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def best_isa() -> str:
    """The instruction set that the core uses here."""
    return _core.instruction_set()


def without_avx512() -> bool:
    """Whether without_avx512.py hides from every engine what the processor has beyond AVX2."""
    return "OPQ_WITHOUT_AVX512" in os.environ


def today_here() -> str:
    """When and on what something is measured."""
    today = datetime.date.today().isoformat()
    return f"{today}: {cpu_name()}, {available_cores()} cores, instruction set {best_isa()}" + _hidden()


def _hidden() -> str:
    return ", AVX-512 and VNNI hidden from every engine" if without_avx512() else ""


def versions(packages: Iterable[str]) -> str:
    """Of Python, and of the packages that are installed."""
    known = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            known.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(known)


def command(script: str, arguments: Sequence[str]) -> str:
    """The command line without the folders outside of this one: where things lie on a machine is nobody's concern."""
    run_by = ["python", "benchmarks/without_avx512.py"] if without_avx512() else []
    return shlex.join([*run_by, "python", script, *(re.sub(r"(^|=)\.{0,2}/.*/", r"\1", text) for text in arguments)])
