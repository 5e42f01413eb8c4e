"""Runs a benchmark as on a processor that has AVX2, and neither AVX-512 nor VNNI nor AMX. Linux on x86-64.

    python benchmarks/without_avx512.py [--deepsparse PYTHON] [COMMAND ...]
    python benchmarks/without_avx512.py python benchmarks/networks.py --only zeros-90 --deepsparse ds/bin/python
    python benchmarks/without_avx512.py opq bench net.opq --against onnxruntime,openvino,mnn

No option keeps the other engines from what the processor shows them; DeepSparse's NM_ARCH=avx2 chooses among its libraries, but
the code that they make still uses AVX-512. So they run from copies, in build/without_avx512, in which every cpuid instruction
is answered by hidden_cpuid.c; opq has OPQ_ISA. First every engine is run for a moment to see what it uses (seen_features.py):
without a command that is all. COMMAND must use this interpreter. DeepSparse's is the one that COMMAND is given as --deepsparse.

The C library copies memory without them as well; NumPy, in the process beside them, still has all instructions.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.hidden_cpuid import build_library, check_tools, is_elf, patch, write_cpuinfo

_FOLDER = Path(__file__).resolve().parent.parent / "build" / "without_avx512"
_CHECK = Path(__file__).with_name("seen_features.py")
_PACKAGES = ("onnxruntime", "openvino", "MNN")
_LIST = """
import importlib.metadata, json, sys
try:
    found = importlib.metadata.distribution(sys.argv[1])
except importlib.metadata.PackageNotFoundError:
    print("null")
else:
    name = f"{found.name}-{found.version}-{sys.implementation.cache_tag}"
    print(json.dumps([name, str(found.locate_file("")), [str(file) for file in found.files]]))
"""


def main() -> None:
    """Prepare, check, and become the command."""
    args = parsed()
    try:
        check_tools()
        if args.command and shutil.which(args.command[0]) is None:
            raise RuntimeError(f"{args.command[0]} is no command")
        _FOLDER.mkdir(parents=True, exist_ok=True)
        environment = prepared(args.deepsparse)
        for package in _PACKAGES:
            check(sys.executable, package, environment)
        if args.deepsparse is not None:
            check(args.deepsparse, "deepsparse", {**environment, "PYTHONPATH": environment["DEEPSPARSE_PYTHONPATH"]})
        if args.command:
            os.execvpe(args.command[0], args.command, environment)
    except RuntimeError as error:
        sys.exit(f"without_avx512.py: {error}")
    except OSError as error:
        sys.exit(f"without_avx512.py: {error.filename}: {error.strerror}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deepsparse", metavar="PYTHON")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    args.command = args.command[args.command[:1] == ["--"] :]
    of_command = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    of_command.add_argument("--deepsparse", default=args.deepsparse)
    args.deepsparse = of_command.parse_known_args(args.command)[0].deepsparse
    return args


def prepared(deepsparse: str | None) -> dict[str, str]:
    """The environment of the command; makes what it names."""
    copies = [patched_copy(sys.executable, package) for package in _PACKAGES]
    before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*(str(copy) for copy in copies if copy is not None), *before]),
        "LD_PRELOAD": str(build_library("hidden_cpuid", _FOLDER)),
        "HIDDEN_CPUINFO": str(write_cpuinfo(_FOLDER)),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW",  # copying and filling memory
        "OPQ_ISA": "avx2",
        "OPQ_WITHOUT_AVX512": "1",  # the tables say so: machine.py
    }
    if deepsparse is not None:
        copy = patched_copy(deepsparse, "deepsparse")
        if copy is None:
            raise RuntimeError(f"{deepsparse} has no deepsparse: see deepsparse_engine.py")
        environment |= {"DEEPSPARSE_PYTHONPATH": str(copy), "NM_DISABLE_ANALYTICS": "True"}
    return environment


def patched_copy(python: str, package: str) -> Path | None:
    """The folder of a copy that asks hidden_cpuid.c, made once for each version of either; None if it is not installed."""
    listed = subprocess.run([python, "-c", _LIST, package], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise RuntimeError(f"{python} does not run: {''.join(listed.stderr.strip().splitlines()[-1:])}")
    found = json.loads(listed.stdout)
    if found is None:
        return None
    name, source, files = found
    patcher = Path(__file__).with_name("hidden_cpuid.py").read_bytes()
    name += f"-{zlib.crc32(patcher):08x}"
    target = _FOLDER / name
    if target.exists():
        return target
    print(f"copying {name} without its cpuid instructions", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        copy = Path(folder) / name
        count = 0
        for file in map(Path, files):
            if ".." in file.parts or not (source / file).is_file():  # scripts, and byte code that is listed but not there
                continue
            path = copy / file
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, path)
            if is_elf(path):
                count += patch(path)
        if count == 0:
            raise RuntimeError(f"{name} has no cpuid instruction: it must learn of the processor in another way")
        copy.rename(target)
    return target


def check(python: str, package: str, environment: dict[str, str]) -> None:
    """Prints what an engine sees. Raises RuntimeError if that is more than AVX2."""
    command = [python, str(_CHECK), package, str(build_library("sampled_instructions", _FOLDER))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    [last] = (done.stderr.strip().splitlines() or [f"{package}: ended with status {done.returncode}"])[-1:]
    if done.returncode != 0:
        raise RuntimeError(last)
    print(last, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
