"""What the compiler made of the kernels: no function that another file could share, and inner loops without detours."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# tools/test_arm64.sh names the machine that it has compiled for, and its build folder.
MACHINE = os.environ.get("OPQ_MACHINE", platform.machine())
BUILD = os.environ.get("OPQ_BUILD", f"build/cp{sys.version_info.major}{sys.version_info.minor}-*")
OBJECTS = f"{BUILD}/CMakeFiles/opq.dir/cpp/kernels"
SETS = {
    "x86_64": ["scalar", "avx2", "avx512", "avx512vnni"],
    "aarch64": ["scalar", "neon", "neondot"],
}.get(MACHINE, ["scalar"])
VECTOR_SETS = {"avx2": [1, 2, 3, 4], "avx512": [1, 2, 3, 4, 5, 6, 7]}  # by set: vectors of a dense block's loops

# What a loop of a kernel may call on a machine that has no instruction for it.
C_FUNCTIONS = {"memcpy", "memset", "fmaf", "sqrtf", "_GLOBAL_OFFSET_TABLE_"}


def tool(name):
    if platform.machine() != MACHINE:
        name = f"{MACHINE}-linux-gnu-{name}"
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing: install binutils")
    return path


def object_of(isa):
    found = sorted(Path(__file__).parent.parent.glob(f"{OBJECTS}/{isa}.cpp.o"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip(f"no {isa}.cpp.o under build/: opq was not built here")
    return found[-1]


@pytest.mark.parametrize("isa", SETS)
def test_a_set_of_kernels_defines_its_table_and_nothing_else(isa):
    """A function of a header, compiled for a newer machine, could be the one copy that the linker keeps for all files."""
    lines = subprocess.run([tool("nm"), "-C", object_of(isa)], capture_output=True, text=True, check=True).stdout.splitlines()
    kinds = [(kind, name) for kind, name in (line[17:].split(" ", 1) for line in lines) if kind not in "tr"]
    undefined = {name for kind, name in kinds if kind == "U"}
    assert [(kind, name) for kind, name in kinds if kind != "U"] == [("D", f"opq::{isa}_kernels")]
    assert undefined <= C_FUNCTIONS


def is_jump(operation):
    """Of x86-64, or of 64-bit ARM."""
    return re.fullmatch(r"j\w+|b(\.\w+)?|[ct]bn?z", operation) is not None


def straight_loops(isa, function):
    """The loops without a branch inside, of the functions whose names begin so: lists of (operation, operands)."""
    command = [tool("objdump"), "--disassemble", "--demangle", "--no-show-raw-insn", object_of(isa)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    inside, code, found = False, [], []
    for line in listing.splitlines():
        if line.endswith(">:"):
            inside, code = re.search(rf"<(void |auto )?opq::{function}\b", line) is not None, []
        instruction = re.fullmatch(r" *([0-9a-f]+):\t(\S+) *(.*)", line)
        if not inside or instruction is None:
            continue
        address, operation, operands = int(instruction[1], 16), instruction[2], instruction[3]
        code.append((address, operation, operands))
        target = re.search(r"\b([0-9a-f]+) <", operands)
        if not is_jump(operation) or target is None:
            continue
        body = [each for each in code if each[0] >= int(target[1], 16)]
        if body and len(body) < len(code) and not any(is_jump(operation) for _, operation, _ in body[:-1]):
            found.append([each[1:] for each in body])
    return found


def count(loop, operation):
    return sum(name.startswith(operation) for name, _ in loop)


def stores(loop):
    """Moves to memory: the last operand is an address."""
    return [each for each in loop if each[0].startswith(("mov", "vmov", "push")) and each[1].endswith(")")]


@pytest.mark.parametrize("isa", [isa for isa in SETS if isa in VECTOR_SETS])
def test_the_sparse_loops_are_loads_and_multiply_adds(isa):
    """Two pairs at a time (sparse-inl.h): per pair a broadcast, and a multiply-add from memory per vector of pixels."""
    vectors = set()
    for loop in straight_loops(isa, "sparse_(rows|block)"):
        fused = [operands for name, operands in loop if name.startswith("vfmadd")]
        if count(loop, "vbroadcastss") != 2 or len(fused) < 2:
            continue
        assert stores(loop) == []
        assert all("(" in operands for operands in fused)
        assert len(loop) <= len(fused) + 20  # so that the loads stay the bound
        vectors.add(len(fused) // 2)
    assert vectors == {1, 2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize(("isa", "expected"), [(isa, VECTOR_SETS[isa]) for isa in SETS if isa in VECTOR_SETS])
def test_the_dense_loops_are_bound_by_the_multiply_adds(isa, expected):
    """Three rows at a time (dense-inl.h): 3 v multiply-adds with v + 3 loads, a count and two pointers. Codes are three more
    loads."""
    vectors = []
    for loop in straight_loops(isa, "dense_rows"):
        fused = count(loop, "vfmadd")
        assert stores(loop) == []
        assert sum(name[0] == "v" and "(" in operands for name, operands in loop) == fused // 3 + 3
        codes = count(loop, "movsb")
        assert codes in (0, 3)
        assert len(loop) <= fused + fused // 3 + 3 + 4 + codes
        vectors.append(fused // 3)
    assert sorted(vectors) == sorted(2 * expected)  # of floats, and of codes
    # A row that is left: multiply-adds from memory, a broadcast, a count and two pointers.
    rows = [loop for loop in straight_loops(isa, "(dense_block|one_dense_row)") if count(loop, "vfmadd")]
    assert all(stores(loop) == [] and len(loop) <= count(loop, "vfmadd") + 5 + count(loop, "movsb") for loop in rows)
    assert sorted(count(loop, "vfmadd") for loop in rows) == sorted(2 * [1, 2, 3, 4, 5, 6, 7])


@pytest.mark.parametrize("isa", [isa for isa in SETS if isa in VECTOR_SETS])
def test_the_depthwise_loops_read_a_row_once_and_write_nothing_but_the_output(isa):
    """depthwise3x3-inl.h: nine multiply-adds and that of the scale, of three vectors or, with stride 2, of two rows of four."""
    reads = set()
    for loop in straight_loops(isa, "depthwise_3x3"):
        if count(loop, "vfmadd") != 10:
            continue
        shuffles = count(loop, "vshufps")
        assert shuffles in (0, 6)
        assert len(stores(loop)) <= (3 if shuffles else 1)  # of 18 registers that stride 2 takes, some are not there
        assert len(loop) <= (60 if shuffles else 32)
        reads.add(shuffles)
    assert reads == {0, 6}


@pytest.mark.parametrize("isa", [isa for isa in SETS if isa.startswith("avx")])
def test_the_loops_over_pairs_of_codes_keep_their_sums_in_registers(isa):
    """bytes-inl.h: per pair two or four multiplications of interleaved bytes, as many additions, and no store."""
    found = 0
    for loop in straight_loops(isa, "byte_(rows|block|block_in_place)"):
        products = count(loop, "vpmaddubsw")
        if not products:
            continue
        assert stores(loop) == []
        assert count(loop, "vpunpck") == products == count(loop, "vpaddw")
        assert len(loop) <= 3 * products + 24  # loads, addresses, a count; and moves between registers, which cost no time
        found += 1
    assert found >= 2


@pytest.mark.parametrize("isa", [isa for isa in SETS if isa.startswith("avx")])
def test_rows_of_bytes_are_finished_without_a_call(isa):
    """bytes-inl.h: a call would take the sums through memory, and cost more than the products of a short row."""
    command = [tool("objdump"), "--disassemble", "--demangle", "--no-show-raw-insn", object_of(isa)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions = re.split(r"\n(?=[0-9a-f]+ <)", listing)
    rows = [text for text in functions if re.match(r"[0-9a-f]+ <(void )?opq::byte_(rows|block)\b", text)]
    assert rows
    for text in rows:
        called = re.findall(r"\tcall +[0-9a-f]+ <(.*?)(?:\+0x[0-9a-f]+)?>", text)
        assert [name for name in called if "finish_byte" in name] == []


@pytest.mark.parametrize(("isa", "tile"), [("avx2", 2), ("avx512", 1), ("avx512vnni", 1)])
def test_the_loops_over_windows_multiply_bytes_where_they_lie(isa, tile):
    """windows-inl.h, 3 x 3: 12 multiplications per vector of a tile, of bytes that nothing has interleaved, twice with halved
    codes; codes stay in registers, but for those that AVX2 has not."""
    if isa not in SETS:
        pytest.skip(f"no {isa} on this machine")
    loops = [loop for loop in straight_loops(isa, "(byte_window|window_of|finish_window)") if count(loop, "vpmulhrsw")]
    assert sorted(count(loop, "vpmaddubsw") // tile for loop in loops) == [12, 12, 24, 24]  # by stride
    for loop in loops:
        passes = count(loop, "vpmaddubsw") // (12 * tile)
        joined = 4 * tile if passes == 2 else 0  # unpacked to be joined with stride 2; with stride 1 to be put in order, too
        assert count(loop, "vpunpck") in (joined, joined + 2 * passes * tile)
        assert count(loop, "vpbroadcast") == 0
        assert len(stores(loop)) <= (1 if tile == 1 else 12)
        assert len(loop) <= 60 * passes * tile


@pytest.mark.parametrize("isa", [isa for isa in SETS if isa.startswith("avx")])
def test_the_dense_integer_loops_keep_their_sums_in_registers(isa):
    """quads-inl.h: 4 rows times 1 to 2 or 4 vectors of pixels; per product one instruction with VNNI, else two in a turn, three
    where each quad goes to 32 bits, and two and a sixth with turns of two."""
    most = 2 if isa == "avx2" else 4
    found = {"dot products": set(), "a turn": set(), "32 bits": set(), "twos": set()}
    for loop in straight_loops(isa, "quad_(rows|rows_in_turns|rows_by_twos|block|vectors)"):
        dots, products, ends = (count(loop, name) for name in ("vpdpbusd", "vpmaddubsw", "vpmaddwd"))
        codes = count(loop, "vpbroadcastd")
        if codes not in (4, 8) or (codes == 8) != (0 < ends < products):
            continue  # not of four rows
        kind = "dot products" if dots else "a turn" if not ends else "32 bits" if ends == products else "twos"
        sums = 2 * products + 2 * ends - (products // 2 if kind == "twos" else 0) if products else dots
        of_row = (dots + products) // codes  # vectors
        lacks_registers = kind == "twos" and isa == "avx2"
        assert len(stores(loop)) <= (1 if lacks_registers else 0)
        # Besides, loads of pixels and of codes; a count, pointers, moves.
        assert len(loop) <= sums + of_row * codes // 4 + codes + (14 if lacks_registers else 9)
        found[kind].add(of_row)
    vectors = set(range(1, most + 1))
    assert found.pop("dot products") == (vectors if "vnni" in isa else set())
    assert all(each == (set() if "vnni" in isa else vectors) for each in found.values()), found


@pytest.mark.skipif(MACHINE != "aarch64", reason="needs a build for 64-bit ARM: make test-arm64")
@pytest.mark.parametrize(("isa", "most"), [("neon", 2), ("neondot", 4)])
def test_the_dense_integer_loops_of_arm_keep_their_sums_in_registers(isa, most):
    """integers_neon.h: 4 rows times 1 to 2 or 4 vectors of four pixels; per product one SDOT, else two SMLAL in a turn, two
    SMULL, ADDP and SADALP where each quad goes to 32 bits, and six for two quads in turns of two."""
    instructions = {"dot products": 1} if isa == "neondot" else {"a turn": 2, "32 bits": 4, "twos": 6}
    found = {kind: set() for kind in instructions}
    for loop in straight_loops(isa, "quad_(rows|rows_in_turns|rows_by_twos|block|vectors)"):
        by_element = [operands for name, operands in loop if name == "sdot" and ".4b[" in operands]
        products, ends, codes = len(by_element), count(loop, "sadalp"), count(loop, "dup") + count(loop, "ld1r")
        if not products and codes not in (4, 8):
            continue  # not of four rows
        kind = "dot products" if products else "a turn" if not ends else "32 bits" if codes == 4 else "twos"
        of_row = (products or ends or count(loop, "smlal") // 2) // 4  # vectors
        assert count(loop, "st") == 0
        loads = of_row * (2 if kind == "twos" else 1) + 1 + 2 * codes  # of pixels and of codes, which SMLAL needs broadcast
        assert len(loop) <= 4 * of_row * instructions[kind] + loads + 5  # a count, pointers
        found[kind].add(of_row)
    assert all(vectors == set(range(1, most + 1)) for vectors in found.values()), found
