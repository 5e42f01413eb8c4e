"""A processor without AVX-512 for benchmarks: what a program learns of it, and that its crashes remain crashes."""

import os
import signal
import subprocess

import pytest

from benchmarks.hidden_cpuid import build_library, check_tools, is_elf, patch
from benchmarks.machine import best_isa, command, today_here

PROGRAM = r"""
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>

static void caught(int number) {
  (void)number;
  puts("caught");
  fflush(stdout);
  signal(SIGILL, SIG_DFL);
}

int main(int count, char** words) {
  (void)words;
  unsigned leaf[2][4], a, b, c, d;
  struct sigaction action = {.sa_handler = caught};
  if (count > 1) sigaction(SIGILL, &action, 0);
  for (unsigned i = 0; i < 2; ++i) __cpuid_count(7, i, leaf[i][0], leaf[i][1], leaf[i][2], leaf[i][3]);
  __cpuid(0, a, b, c, d);
  volatile unsigned bytes = 0x12A20F34;
  printf("%x %x %x %x %x %x %x %x %x\n", leaf[0][1], leaf[0][2], leaf[0][3], leaf[1][0], leaf[1][3], a, b, c ^ d, bytes);
  fflush(stdout);
  if (count > 1) __builtin_trap();
  return 0;
}
"""
EBX = sum(1 << bit for bit in (16, 17, 21, 26, 27, 28, 30, 31))
ECX = sum(1 << bit for bit in (1, 6, 11, 12, 14))
EDX = sum(1 << bit for bit in (2, 3, 8, 22, 23, 24, 25))
EAX1 = sum(1 << bit for bit in (4, 5, 21, 23))
EDX1 = sum(1 << bit for bit in (4, 5, 8, 10, 19))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A program, the same one patched, and the library that answers it."""
    try:
        check_tools()
    except RuntimeError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("cpuid")
    plain, patched = folder / "plain", folder / "patched"
    build = [os.environ.get("CXX", "g++"), "-x", "c", "-std=gnu11", "-O1", "-", "-o"]
    for path in (plain, patched):
        subprocess.run([*build, path], input=PROGRAM, text=True, check=True)
    assert is_elf(patched)
    assert patch(patched) > 0
    assert patch(patched) == 0
    return plain, patched, build_library("hidden_cpuid", folder)


def run(program, library, *arguments):
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_features_beyond_avx2_are_hidden_and_all_else_is_as_it_was(programs):
    plain, patched, library = programs
    before, after = ([int(word, 16) for word in run(program, library).stdout.split()] for program in (plain, patched))
    masks = [EBX, ECX, EDX, EAX1, EDX1, 0, 0, 0, 0]
    assert after == [value & ~mask for value, mask in zip(before, masks, strict=True)]
    assert after[-1] == 0x12A20F34  # the bytes of cpuid inside another instruction


def test_other_illegal_instructions_crash_as_they_would(programs):
    """The program's own handler does not take the place of the library's, and has its turn."""
    _, patched, library = programs
    done = run(patched, library, "crash")
    assert done.returncode == -signal.SIGILL
    assert [line for line in done.stdout.splitlines() if line == "caught"] == ["caught"]
    assert len(done.stdout.splitlines()) == 2


def test_without_the_library_a_patched_program_ends(programs):
    _, patched, _ = programs
    assert run(patched, "").returncode == -signal.SIGILL


def test_tables_say_so(monkeypatch):
    monkeypatch.setenv("OPQ_WITHOUT_AVX512", "1")
    monkeypatch.setenv("OPQ_ISA", "avx2")
    assert best_isa() == "avx2"
    assert today_here().endswith("instruction set avx2, AVX-512 and VNNI hidden from every engine")
    assert command("x.py", ["--runs", "3"]) == "python benchmarks/without_avx512.py python x.py --runs 3"
