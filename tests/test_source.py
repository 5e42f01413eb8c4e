"""Where a file may lie: every kind of source gives the same model, alone and inside a larger blob."""

import io
import mmap
import os
import pickle
import socket
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import small_network

import opq

X = np.random.default_rng(0).normal(size=(2, 3, 8, 6)).astype(np.float32)
FILE = small_network().to_bytes()


class Trickle:
    """An open file without seek or tell that gives at most `most` bytes at a time, whatever is asked."""

    def __init__(self, data, most):
        self.data, self.most = data, most

    def read(self, size):
        count = min(size, self.most)
        data, self.data = self.data[:count], self.data[count:]
        return data


def mapped(path, access=mmap.ACCESS_READ):
    with open(path, "rb" if access == mmap.ACCESS_READ else "r+b") as file:
        return mmap.mmap(file.fileno(), 0, access=access)


def array(path, readonly):
    result = np.fromfile(path, dtype=np.uint8)
    result.flags.writeable = not readonly
    return result


SOURCES = {
    "path": lambda path: path,
    "str": str,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "signed memoryview": lambda path: memoryview(path.read_bytes()).cast("b"),
    "read-only mapping": mapped,
    "shared mapping": lambda path: mapped(path, mmap.ACCESS_WRITE),
    "private mapping": lambda path: mapped(path, mmap.ACCESS_COPY),
    "array": lambda path: array(path, readonly=False),
    "read-only array": lambda path: array(path, readonly=True),
    "memmap": lambda path: np.memmap(path, dtype=np.uint8, mode="r"),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "one byte at a time": lambda path: Trickle(path.read_bytes(), 1),
    "bytearrays": lambda path: Trickle(bytearray(path.read_bytes()), 1000),
}
READERS = {
    "load": opq.load,
    "core": lambda source, **options: opq.Session(source, backend="core", **options),
    "reference": lambda source, **options: opq.Session(source, backend="reference", **options),
}


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def result(network):
    """Bits that tell networks apart; the reference's differ from the core's."""
    session = network if isinstance(network, opq.Session) else opq.Session(network)
    return session.backend, session.run(None, {"x": X})[0].tobytes()


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_network(kind, read, tmp_path):
    (tmp_path / "net.opq").write_bytes(FILE)
    assert result(read(SOURCES[kind](tmp_path / "net.opq"))) == result(read(FILE))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("offset", "behind"), [(0, b""), (0, b"\0"), (1, b""), (4097, b"\x89OPQ"), (7, FILE)])
def test_every_source_may_be_a_larger_blob(kind, offset, behind, read, tmp_path):
    path = tmp_path / "assets.bin"
    path.write_bytes(b"\xee" * offset + FILE + behind)
    assert result(read(SOURCES[kind](path), offset=offset)) == result(read(FILE))
    assert opq.load(SOURCES[kind](path), offset=np.int32(offset)).to_bytes() == FILE


@pytest.mark.parametrize("kind", sorted(SOURCES.keys() - {"BytesIO", "one byte at a time", "bytearrays"}))
def test_without_an_offset_nothing_may_follow(kind, read, tmp_path):
    path = tmp_path / "net.opq"
    path.write_bytes(FILE + b"\0")
    with pytest.raises(opq.FormatError, match=rf"{len(FILE)}") as caught:
        read(SOURCES[kind](path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("most", [1, 31, 1 << 20])
def test_an_open_file_is_read_to_the_end_of_the_opq_file_and_no_further(most, read):
    """So one stream may hold several, one behind the other; an offset counts from where the stream stands."""
    stream = Trickle(FILE + b"ab" + small_network(seed=1).to_bytes() + b"rest", most)
    assert result(read(stream)) == result(read(FILE))
    assert result(read(stream, offset=2)) == result(read(small_network(seed=1).to_bytes()))
    assert stream.data == b"rest"
    file = io.BytesIO(b"before" + FILE)
    file.seek(4)
    assert result(read(file, offset=2)) == result(read(FILE))


def test_a_pipe_and_a_socket(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for source, offset, before in ((fifo, None, b""), (fifo, 3, b"abc")):
        writer = threading.Thread(target=fifo.write_bytes, args=(before + FILE,), daemon=True)
        writer.start()
        assert opq.load(source, offset=offset).to_bytes() == FILE
        writer.join()
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rb", buffering=0) as stream:
        theirs.settimeout(60)
        ours.sendall(FILE)  # and the connection stays open
        assert opq.load(stream).to_bytes() == FILE


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("length", [0, 1, 31, 32, 100, len(FILE) - 1])
def test_truncated(kind, length, read, tmp_path):
    path = tmp_path / "net.opq"
    path.write_bytes(b"12345" + FILE[:length])
    with pytest.raises(opq.FormatError, match=r"at byte 5: ") as caught:
        read(SOURCES[kind](path), offset=5)
    assert "\n" not in str(caught.value)
    if kind in ("path", "str"):
        assert str(caught.value).startswith(str(path))


def test_a_false_length_allocates_nothing(read):
    """A sound header that declares 2^60 bytes: the stream ends first, and that is all that happens."""
    header = bytearray(FILE[:32])
    header[16:24] = (1 << 60).to_bytes(8, "little")
    header[28:32] = opq._core.crc32c(bytes(header[:28])).to_bytes(4, "little")

    class Careful(io.BytesIO):
        def read(self, size):
            assert size <= 1 << 20
            return super().read(size)

    for source in (Careful(header + bytes(1 << 21)), bytes(header)):
        with pytest.raises(opq.FormatError):
            read(source, offset=0)


@given(st.binary(max_size=100), st.integers(0, 120))
def test_arbitrary_blobs_are_refused(data, offset):
    for source in (data, io.BytesIO(data), Trickle(data, 3)):
        with pytest.raises(opq.FormatError):
            opq.load(source, offset=offset)


@pytest.mark.parametrize("offset", [-1, -(10**30), 1 << 63, 10**30, 1.0, "0", True, np.float32(3)])
def test_offsets_that_are_none(offset, read, tmp_path):
    (tmp_path / "net.opq").write_bytes(FILE)
    for source in (FILE, tmp_path / "net.opq", io.BytesIO(FILE)):
        with pytest.raises(ValueError, match=r"offset .* is not a position"):
            read(source, offset=offset)


def test_an_offset_behind_the_end(read, tmp_path):
    (tmp_path / "net.opq").write_bytes(FILE)
    for source in (FILE, tmp_path / "net.opq", io.BytesIO(FILE)):
        with pytest.raises(opq.FormatError, match=f"at byte {2**63 - 1}: not an .opq file"):
            read(source, offset=2**63 - 1)


def test_a_model_has_no_offset():
    with pytest.raises(ValueError, match="CompressedModel has none"):
        opq.Session(small_network(), offset=0)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "NoneType is no source"),
        (3, "int is no source"),
        (["net.opq"], "list is no source"),
        (io.StringIO("text"), "StringIO is no source"),
        (np.zeros(3), "buffer is no source"),
        (np.zeros((64, 2), dtype=np.uint8)[:, :1], "buffer is no source"),
        (Trickle("text" * 100, 1000), "gave str, expected bytes"),
        (Trickle([1] * 100, 1000), "gave list, expected bytes"),
    ],
)
def test_other_sources(source, words, read):
    with pytest.raises(TypeError, match=words) as caught:
        read(source)
    assert "\n" not in str(caught.value)


def test_a_reader_that_gives_more_than_was_asked(read):
    class Greedy:
        def read(self, size):
            return bytes(size + 1)

    with pytest.raises(ValueError, match=r"read\(32\) gave 33 bytes"):
        read(Greedy())


def test_a_text_file_by_mistake(read, tmp_path):
    (tmp_path / "net.opq").write_bytes(FILE)
    with open(tmp_path / "net.opq") as file, pytest.raises(TypeError, match="TextIOWrapper is no source"):
        read(file)


def test_an_open_file_is_named(read, tmp_path):
    (tmp_path / "net.opq").write_bytes(b"1" + FILE)
    with open(tmp_path / "net.opq", "rb") as file, pytest.raises(opq.FormatError, match=r"net\.opq: not an"):
        read(file)


def test_a_read_only_mapping_is_used_in_place(tmp_path):
    """The model holds the mapping, a session does not."""
    (tmp_path / "net.opq").write_bytes(b"123" + FILE)
    mapping = mapped(tmp_path / "net.opq")
    for backend in ("core", "reference"):
        opq.Session(mapping, offset=3, backend=backend)
    model = opq.load(mapping, offset=3)
    with pytest.raises(BufferError):
        mapping.close()
    assert model.to_bytes() == FILE
    model.save(tmp_path / "copy.opq")
    assert (tmp_path / "copy.opq").read_bytes() == FILE
    del model
    mapping.close()


def test_a_writable_buffer_is_copied():
    data = bytearray(FILE)
    model = opq.load(data)
    data[:] = bytes(len(data))
    assert model.to_bytes() == FILE
    assert result(model) == result(opq.load(FILE))


def test_a_path_is_not_kept_open_or_mapped(tmp_path):
    """Cutting the file off later does not touch the model."""
    path = tmp_path / "net.opq"
    path.write_bytes(FILE)
    model = opq.load(path)
    os.truncate(path, 0)
    assert model.to_bytes() == FILE


def outputs_from_a_mapping(path, offset):
    """In a process of its own."""
    mapping = mapped(path)
    return [result(opq.load(mapping, offset=offset))[1], result(opq.Session(mapping, offset=offset))[1]]


def test_two_processes_share_one_mapping(tmp_path):
    """Two processes and this one map the same file and compute the same bits."""
    path = tmp_path / "assets.bin"
    path.write_bytes(b"\xee" * 4099 + FILE + b"\xee" * 99)
    ours = outputs_from_a_mapping(path, 4099)
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        theirs = list(pool.map(outputs_from_a_mapping, [path, path], [4099, 4099]))
    assert theirs == [ours, ours]


def test_progress_of_encoding_and_decoding():
    model = small_network()
    calls = {"encode": [], "load": []}
    model.encode(lambda *call: calls["encode"].append(call))
    opq.load(FILE, progress=lambda *call: calls["load"].append(call))
    for seen in calls.values():
        assert len(seen) == len(model)
        done, totals = zip(*seen, strict=True)
        assert list(done) == sorted(done)
        assert set(totals) == {done[-1]}


def test_a_model_from_a_mapping_pickles_as_its_file(tmp_path):
    path = tmp_path / "net.opq"
    path.write_bytes(FILE)
    with mapped(path) as mapping:
        model = opq.load(mapping)
        again = pickle.loads(pickle.dumps(model))
        assert again.to_bytes() == FILE
        del model
