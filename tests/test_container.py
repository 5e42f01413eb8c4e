"""The file: both readers accept it, and refuse every truncation and every changed byte by naming what is wrong."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import small_network

import opq
from opq import _core
from opq.compressed import from_bytes
from opq.quantization import QuantizedTensor
from opq.reference import codec, container, graph_section, tensor_section
from opq.reference.crc32c import crc32c


def both_refuse(data):
    """Each reader raises FormatError with a one-line message."""
    for read in (from_bytes, _core.Network):
        with pytest.raises(opq.FormatError) as caught:
            read(data)
        assert str(caught.value)
        assert "\n" not in str(caught.value)


def test_round_trip():
    model = small_network()
    data = model.to_bytes()
    again = from_bytes(data)
    assert again.graph == model.graph
    assert again.details == model.details
    assert list(again) == list(model)
    for name, tensor in model.items():
        other = again[name]
        assert type(other) is type(tensor)
        if isinstance(tensor, QuantizedTensor):
            np.testing.assert_array_equal(other.codes, tensor.codes)
            np.testing.assert_array_equal(other.channel_steps(), tensor.channel_steps())
            assert (other.step, other.levels, other.axis) == (tensor.step, tensor.levels, tensor.axis)
        else:
            assert other.dtype == tensor.dtype
            np.testing.assert_array_equal(other, tensor)
    assert _core.Network(data).packed_bytes > 0


def test_the_reference_writes_the_same_file():
    """The file that `save` writes with the core's coder is the one that the NumPy definition writes."""
    model = small_network()
    directory, data = tensor_section.write_tensors(model.tensors, codec.encode)
    report = container.read_container(model.to_bytes())[b"REPT"]
    sections = {b"TENS": directory, b"DATA": data, b"GRPH": graph_section.write_graph(model.graph), b"REPT": bytes(report)}
    assert container.write_container(sections) == model.to_bytes()


def test_every_truncation_is_refused():
    data = small_network().to_bytes()
    for end in range(len(data)):
        both_refuse(data[:end])
    both_refuse(data + b"\0")


def test_every_changed_byte_is_refused():
    """Checksums, or zeros that must be zeros, cover every byte."""
    data = small_network().to_bytes()
    for i in range(len(data)):
        both_refuse(data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i + 1 :])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data):
    both_refuse(data)
    both_refuse(container.MAGIC + data)


def rebuilt(sections):
    """A file with these sections and right checksums: damage that only the contents can show."""
    return container.write_container(sections)


@pytest.mark.parametrize("kind", [b"TENS", b"DATA", b"GRPH"])
def test_damage_behind_right_checksums(kind):
    """Every byte of every section set to several values: both readers accept the same file or both refuse it."""
    data = small_network().to_bytes()
    sections = {k: bytes(v) for k, v in container.read_container(data).items()}
    refused = 0
    for i in range(len(sections[kind])):
        for value in {0, 1, 2, 4, 127, 255, sections[kind][i] ^ 1} - {sections[kind][i]}:
            changed = sections[kind][:i] + bytes([value]) + sections[kind][i + 1 :]
            file = rebuilt({**sections, kind: changed})
            accepted = []
            for read in (from_bytes, _core.Network):
                try:
                    read(file)
                    accepted.append(True)
                except (opq.FormatError, opq.UnsupportedError):
                    accepted.append(False)
            assert accepted[0] == accepted[1], (kind, i, value)
            refused += not accepted[0]
    assert refused > 0


def test_missing_sections_and_wrong_versions():
    sections = {k: bytes(v) for k, v in container.read_container(small_network().to_bytes()).items()}
    for kind in (b"TENS", b"DATA"):
        both_refuse(rebuilt({k: v for k, v in sections.items() if k != kind}))
    data = bytearray(small_network().to_bytes())
    data[8] = 2
    data[28:32] = struct.pack("<I", crc32c(data[:28]))
    both_refuse(bytes(data))
    with pytest.raises(opq.FormatError, match="newer opq"):
        from_bytes(bytes(data))


def test_unknown_sections(monkeypatch):
    """An optional one is skipped, another is refused."""
    sections = {k: bytes(v) for k, v in container.read_container(small_network().to_bytes()).items()}
    monkeypatch.setitem(container.SECTIONS, b"NEWS", 1)
    optional = rebuilt({**sections, b"NEWS": b"hello"})
    monkeypatch.setitem(container.SECTIONS, b"NEWS", 0)
    needed = rebuilt({**sections, b"NEWS": b"hello"})
    monkeypatch.delitem(container.SECTIONS, b"NEWS")
    assert from_bytes(optional).graph is not None
    assert _core.Network(optional).packed_bytes > 0
    both_refuse(needed)


def test_a_few_bytes_cannot_declare_much():
    """2^36 codes of one symbol would take a few bytes; the format bounds what they may declare."""
    head = struct.pack("<I", 1) + b"\x01\0w" + bytes([1, 2, 1, 0]) + struct.pack("<QQ", 1 << 36, 1 << 20)
    directory = head + struct.pack("<fHBB", 1.0, 1, 255, 0)
    both_refuse(rebuilt({b"TENS": directory, b"DATA": bytes(1 << 20)}))


def test_the_report_must_be_json():
    sections = {k: bytes(v) for k, v in container.read_container(small_network().to_bytes()).items()}
    for text in (b"{", b"[1]", b"\xff", b"[" * 100_000):
        file = rebuilt({**sections, b"REPT": text})
        for read in (from_bytes, opq.Session, lambda data: opq.Session(data, backend="reference")):
            with pytest.raises(opq.FormatError, match="REPT"):
                read(file)


def test_load_names_the_file(tmp_path):
    path = tmp_path / "broken.opq"
    path.write_bytes(b"nothing")
    for call in (opq.load, opq.Session, lambda p: opq.Session(p, backend="reference")):
        with pytest.raises(opq.FormatError, match=r"broken\.opq"):
            call(path)
    with pytest.raises(FileNotFoundError):
        opq.load(tmp_path / "absent.opq")
