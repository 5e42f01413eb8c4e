"""safetensors against the `safetensors` package in both directions, npz against NumPy, and damaged files of both."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from opq.errors import FormatError
from opq.npz_io import load_npz, save_npz
from opq.safetensors_io import load_safetensors, save_safetensors

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
SHAPES: list[tuple[int, ...]] = [(), (0,), (1,), (3, 0, 2), (5, 7), (2, 3, 4)]

quick = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def examples() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {
        f"{dtype}{list(shape)}": np.asarray(100 * rng.standard_normal(shape)).astype(dtype)
        for dtype in DTYPES
        for shape in SHAPES
        if dtype != "uint8"
    } | {"ü/weight": np.arange(6, dtype=np.uint8).reshape(2, 3)}


def assert_same(got: dict[str, Any], want: dict[str, Any]) -> None:
    assert set(got) == set(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array, strict=True)


def test_safetensors_written_by_the_package(tmp_path: Path) -> None:
    save_file(examples(), tmp_path / "a.safetensors", metadata={"made by": "test"})
    assert_same(load_safetensors(tmp_path / "a.safetensors"), examples())


def test_safetensors_read_by_the_package(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "a.safetensors", examples())
    assert_same(load_file(tmp_path / "a.safetensors"), examples())
    assert_same(load_safetensors(tmp_path / "a.safetensors"), examples())


def test_safetensors_bfloat16_becomes_float32(tmp_path: Path) -> None:
    array = np.array([[1.5, -2.0, np.inf], [3e38, 1e-39, -0.0]]).astype(ml_dtypes.bfloat16)
    save_file({"w": array}, tmp_path / "a.safetensors")
    got = load_safetensors(tmp_path / "a.safetensors")["w"]
    np.testing.assert_array_equal(got, array.astype(np.float32), strict=True)


def test_safetensors_stores_values_whatever_the_memory_order(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_safetensors(tmp_path / "a", {"f": np.asfortranarray(array), "b": array.astype(">f4"), "s": array[:, ::2]})
    got = load_safetensors(tmp_path / "a")
    assert_same(got, {"f": array, "b": array, "s": array[:, ::2]})
    assert all(tensor.flags.writeable and tensor.flags.c_contiguous for tensor in got.values())


def test_safetensors_refuses_other_types(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'w' of type complex64"):
        save_safetensors(tmp_path / "a", {"w": np.zeros(2, np.complex64)})
    assert not list(tmp_path.iterdir())


def raw_safetensors(header: object, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "empty file": b"",
    "seven bytes": b"1234567",
    "header longer than the file": (100).to_bytes(8, "little") + b"{}",
    "header above the limit": (2**63).to_bytes(8, "little") + b"{}",
    "not JSON": raw_safetensors(b"{", b""),
    "not UTF-8": raw_safetensors(b'{"\xff": 1}', b""),
    "not an object": raw_safetensors([], b""),
    "deeply nested": raw_safetensors(b"[" * 100_000, b""),
    "name twice": raw_safetensors(b'{"a": {}, "a": {}}', b""),
    "entry is a number": raw_safetensors({"a": 1}, b""),
    "entry lacks offsets": raw_safetensors({"a": {"dtype": "F32", "shape": [1]}}, b""),
    "unknown type": raw_safetensors({"a": entry("F8")}, bytes(8)),
    "type is a list": raw_safetensors({"a": entry(["F32"])}, bytes(8)),  # type: ignore[arg-type]
    "negative size": raw_safetensors({"a": entry(shape=[-1, -2])}, bytes(8)),
    "size is a float": raw_safetensors({"a": entry(shape=[2.0])}, bytes(8)),
    "size is true": raw_safetensors({"a": entry(shape=[True, 2])}, bytes(8)),
    "product overflows 64 bits": raw_safetensors({"a": entry(shape=[2**32, 2**32, 2])}, bytes(8)),
    "offsets reversed": raw_safetensors({"a": entry(offsets=[8, 0])}, bytes(8)),
    "offsets behind the end": raw_safetensors({"a": entry(offsets=[0, 16], shape=[4])}, bytes(8)),
    "three offsets": raw_safetensors({"a": entry(offsets=[0, 8, 8])}, bytes(8)),
    "hole at the start": raw_safetensors({"a": entry(offsets=[4, 12])}, bytes(12)),
    "hole between": raw_safetensors({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
    "overlap": raw_safetensors({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
    "bytes behind the last": raw_safetensors({"a": entry()}, bytes(9)),
    "BOOL of 2": raw_safetensors({"a": entry("BOOL", [1], [0, 1])}, b"\x02"),
    "33 axes": raw_safetensors({"a": entry("U8", [1] * 65, [0, 1])}, b"\x02"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_safetensors(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(HOSTILE[name])
    refused_in_one_line(load_safetensors, path)


def refused_in_one_line(load: Callable[[Path], object], path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300))
@quick
def test_any_bytes_are_no_safetensors_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(len(data).to_bytes(8, "little") + data)
    refused_in_one_line(load_safetensors, path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1, np.int8)}
    path = tmp_path / "a"
    for save, load in ((save_safetensors, load_safetensors), (save_npz, load_npz)):
        save(path, tensors)
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            refused_in_one_line(load, path)


@given(st.integers(0, 10**6), st.integers(1, 255))
@quick
def test_changed_byte_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, where: int, flip: int) -> None:
    path = tmp_path_factory.mktemp("flip") / "a"
    for save, load in ((save_safetensors, load_safetensors), (save_npz, load_npz)):
        save(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1, np.int8)})
        data = bytearray(path.read_bytes())
        data[where % len(data)] ^= flip
        path.write_bytes(data)
        with contextlib.suppress(FormatError):
            load(path)


def test_npz_both_ways(tmp_path: Path) -> None:
    want = {f"{dtype}{len(shape)}": np.ones(shape, dtype) for dtype in DTYPES for shape in SHAPES}
    want["fortran"] = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.savez(tmp_path / "numpy.npz", **want)
    np.savez_compressed(tmp_path / "compressed.npz", **want)
    save_npz(tmp_path / "ours.npz", want)
    assert_same(load_npz(tmp_path / "numpy.npz"), want)
    assert_same(load_npz(tmp_path / "compressed.npz"), want)
    assert_same(load_npz(tmp_path / "ours.npz"), want)
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as archive:
        assert_same(dict(archive), want)


def test_npz_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.array([{}, None], dtype=object))
    refused_in_one_line(load_npz, tmp_path / "a.npz")


def test_npz_with_more_elements_than_bytes(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"
    header += b" " * (64 - (10 + len(header)) % 64)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4))
    refused_in_one_line(load_npz, tmp_path / "a.npz")


@pytest.mark.parametrize("load", [load_npz, load_safetensors])
def test_missing_file_is_an_os_error(load: Callable[[str], object], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / "missing"))
