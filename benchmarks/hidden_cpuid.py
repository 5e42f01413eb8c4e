"""Makes the cpuid instructions of a program or library ask hidden_cpuid.c, which leaves out every feature beyond AVX2."""

from __future__ import annotations

import mmap
import os
import platform
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CPUID, _INVALID = b"\x0f\xa2", b"\x27\xa2"
_BEYOND_AVX2 = re.compile(r" (avx512|amx|avx_vnni|avx_ifma|avx_ne_convert|avx10)\w*")
_LOAD, _EXECUTABLE = 1, 1  # PT_LOAD, PF_X


def check_tools() -> None:
    """Raises RuntimeError, naming the remedy, where this cannot work."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise RuntimeError(f"cpuid can be hidden on Linux on x86-64 only, this is {platform.system()} on {platform.machine()}")
    for tool, package in ((_compiler(), "g++ (or set CXX)"), ("objdump", "binutils")):
        if shutil.which(tool) is None:
            raise RuntimeError(f"{tool} is missing: install {package}")


def build_library(name: str, folder: Path) -> Path:
    """Compiles <name>.c, here, to <name>.so in a folder. LD_PRELOAD must name that of hidden_cpuid."""
    source, library = Path(__file__).with_name(f"{name}.c"), folder / f"{name}.so"
    # As C: what the C++ compiler has, no other compiler must be there for it.
    command = [_compiler(), "-x", "c", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", str(source)]
    done = subprocess.run([*command, "-o", str(library), "-ldl"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{source.name} does not compile: {''.join(done.stderr.strip().splitlines()[:1])}")
    return library


def write_cpuinfo(folder: Path) -> Path:
    """Writes what /proc/cpuinfo would say, for HIDDEN_CPUINFO."""
    path = folder / "cpuinfo"
    path.write_text(_BEYOND_AVX2.sub("", Path("/proc/cpuinfo").read_text()))
    return path


def patch(path: Path) -> int:
    """Replaces every cpuid of an ELF file in place; how many there were."""
    addresses = list(_cpuid_addresses(path)) if _may_have_cpuid(path) else []
    if not addresses:
        return 0
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        segments = _executable_segments(data)
        for address in addresses:
            [offset] = [start + address - at for at, start, size in segments if at <= address < at + size]
            if data[offset : offset + 2] != _CPUID:
                raise RuntimeError(f"{path.name}: objdump shows cpuid at {address:x}, where the file has something else")
            data[offset : offset + 2] = _INVALID
    return len(addresses)


def is_elf(path: Path) -> bool:
    """Whether a file is a program or library of this machine."""
    with path.open("rb") as file:
        head = file.read(20)
    return head[:5] == b"\x7fELF\x02" and head[18:20] == b"\x3e\0"


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


def _may_have_cpuid(path: Path) -> bool:
    """Disassembling takes seconds per 10 MB."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(_CPUID, start, start + size) >= 0 for _, start, size in _executable_segments(data))


def _cpuid_addresses(path: Path) -> Iterator[int]:
    """By disassembling: the same two bytes occur inside of other instructions as well."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.match(rb" *([0-9a-f]+):\tcpuid\s*$", line)
            if found is not None:
                yield int(found[1], 16)
    if process.returncode != 0:
        raise RuntimeError(f"objdump does not read {path.name}")


def _executable_segments(data: mmap.mmap) -> list[tuple[int, int, int]]:
    """Address, offset in the file and size there."""
    [table] = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = []
    for i in range(count):
        kind, flags, offset, address, _, stored = struct.unpack_from("<IIQQQQ", data, table + i * size)
        if kind == _LOAD and flags & _EXECUTABLE:
            segments.append((address, offset, stored))
    return segments
