"""Files appear whole or not at all: the writer is killed at every line and at random moments, disks are full."""

import errno
import json
import os
import re
import select
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import small_network

import opq
from opq.atomic import write_atomically

OPQ = Path(sys.executable).with_name("opq")
LEFTOVER = re.compile(r"\.out\.opq\.[0-9a-f]{16}\.part")


def names(folder):
    return sorted(os.listdir(folder))


def python(script, *arguments):
    result = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


KILLED_BEFORE_EVERY_LINE = """
import itertools, json, os, signal, sys
from opq import atomic

folder, path = sys.argv[1], os.path.join(sys.argv[1], "out.opq")
old, new = b"old" * 10**5, b"new" * 2 * 10**5


def rewrite(stop):
    executed = 0

    def trace(frame, event, argument):
        nonlocal executed
        if frame.f_code.co_filename != atomic.__file__:
            return None
        if event == "line":
            if executed == stop:
                os.kill(os.getpid(), signal.SIGKILL)
            executed += 1
        return trace

    sys.settrace(trace)
    atomic.write_atomically(path, new)
    os._exit(0)


rounds = []
for stop in itertools.count():
    with open(path, "wb") as file:
        file.write(old)
    child = os.fork()
    if child == 0:
        rewrite(stop)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with open(path, "rb") as file:
        content = {old: "old", new: "new"}.get(file.read(), "damaged")
    leftovers = [name for name in os.listdir(folder) if name != "out.opq"]
    for name in leftovers:
        os.unlink(os.path.join(folder, name))
    rounds.append([killed, content, leftovers])
    if not killed:
        break
json.dump(rounds, sys.stdout)
"""


def test_killed_before_every_line(tmp_path):
    rounds = python(KILLED_BEFORE_EVERY_LINE, tmp_path)
    assert len(rounds) > 20
    assert rounds[-1] == [False, "new", []]
    contents = [content for _, content, _ in rounds]
    assert contents == sorted(contents, reverse=True)  # old, ..., old, new, ..., new
    assert {"old", "new"} == set(contents[:-1])
    for _, _, leftovers in rounds:
        assert len(leftovers) <= 1
        assert all(LEFTOVER.fullmatch(name) for name in leftovers)
    assert any(leftovers for _, _, leftovers in rounds)


KILLED_AT_RANDOM = """
import itertools, json, os, random, signal, sys, time
import opq

folder, path, rounds = sys.argv[1], os.path.join(sys.argv[1], "out.opq"), int(sys.argv[2])
models = [opq.load(name) for name in sys.argv[3:]]
versions = {model.to_bytes(): i for i, model in enumerate(models)}
started = time.perf_counter()
models[0].save(path)
once = time.perf_counter() - started
result = []
for i in range(rounds):
    child = os.fork()
    if child == 0:
        for k in itertools.count(i):
            models[k % 2].save(path)
    time.sleep(random.uniform(0, 5 * once))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(path, "rb") as file:
        result.append(versions.get(file.read(), "damaged"))
json.dump(result, sys.stdout)
"""


def test_killed_at_random_moments(tmp_path):
    """A child that saves two models in turns."""
    rng = np.random.default_rng(0)
    for i in range(2):
        opq.compress({"w": rng.normal(size=(400, 400 + 100 * i))}, bits=4).save(tmp_path / f"{i}.opq")
    folder = tmp_path / "folder"
    folder.mkdir()
    versions = python(KILLED_AT_RANDOM, folder, 100, tmp_path / "0.opq", tmp_path / "1.opq")
    assert set(versions) == {0, 1}
    leftovers = [name for name in names(folder) if name != "out.opq"]
    assert len(leftovers) <= 100
    assert all(LEFTOVER.fullmatch(name) for name in leftovers)


@pytest.mark.parametrize("call", ["open", "chmod", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, os.strerror(errno.EIO)), KeyboardInterrupt()], ids=["EIO", "interrupt"])
def test_a_failing_call(call, error, tmp_path, monkeypatch):
    """The old file is whole, nothing is left, and the error names the file that the caller named."""
    path = tmp_path / "out.opq"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(f"os.{call}", fail)
        with pytest.raises(type(error)) as caught:
            write_atomically(path, b"new")
    if isinstance(error, OSError):
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.opq"]


def test_file_and_folder_are_flushed(tmp_path, monkeypatch):
    """The file before it gets its name, the folder after it."""
    calls = []
    replace = os.replace

    def fsync(handle):
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr("os.replace", lambda *names: (calls.append("rename"), replace(*names)))
    write_atomically(tmp_path / "out.opq", b"new")
    assert calls == ["file", "rename", "folder"]


def test_a_folder_that_cannot_be_flushed(tmp_path, monkeypatch):
    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr("os.fsync", fsync)
    write_atomically(tmp_path / "out.opq", b"new")
    assert (tmp_path / "out.opq").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["n" * 240, "n" * 255, "ü" * 127, "n" + "漢" * 84, "\udcff" * 250], ids=ascii)
def test_long_names(name, tmp_path):
    """A temporary name that is longer than the name itself would not do."""
    for data in (b"old", b"new"):
        write_atomically(tmp_path / name, data)
        assert names(tmp_path) == [name]
        assert (tmp_path / name).read_bytes() == data


def test_permissions(tmp_path, monkeypatch):
    """A new file has those that open() gives; a file that is replaced keeps its own, and nobody sees more meanwhile."""
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new", b"")
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
        for permissions in (0o600, 0o444, 0o666):
            (tmp_path / "new").chmod(permissions)
            seen = []
            monkeypatch.setattr("os.fsync", lambda handle, seen=seen: seen.append(stat.S_IMODE(os.fstat(handle).st_mode)))
            write_atomically(tmp_path / "new", b"")
            assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == permissions
            assert seen[0] == permissions
    finally:
        os.umask(before)


def test_symbolic_links_stay(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "target"
    link.symlink_to(Path("elsewhere") / "target")
    for data in (b"first", b"second"):  # the link dangles at first
        write_atomically(link, data)
        assert link.is_symlink()
        assert target.read_bytes() == data
    assert names(tmp_path) == ["elsewhere", "link"]
    assert names(tmp_path / "elsewhere") == ["target"]
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(OSError, match="symbolic links") as caught:
        write_atomically(link, b"third")
    assert caught.value.filename == str(link)
    assert link.is_symlink()


def test_a_pipe_is_written_to(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    small_network().save(fifo)
    data = os.read(reader, 1 << 16)
    os.close(reader)
    assert data == small_network().to_bytes()
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.fixture
def full_device(tmp_path):
    """/dev/full, where everything fits but what is written. Root, who could replace it by mistake, gets its own."""
    if os.getuid() != 0:
        path = Path("/dev/full")
    else:
        path = tmp_path / "full"
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        except OSError as error:
            pytest.skip(f"no device can be made here: {error}")
    if not path.exists() or not os.access(path, os.W_OK):
        pytest.skip("no /dev/full here")
    return path


def test_a_device_is_written_to(full_device):
    with pytest.raises(OSError, match="No space left") as caught:
        small_network().save(full_device)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(full_device))
    assert stat.S_ISCHR(full_device.stat().st_mode)


# --- the command, as a user would call it


@pytest.fixture
def folder(tmp_path):
    """w.npz, whose .opq file has more than 64 kB, net.opq with an input x.npy, and out/, which holds an older out.opq."""
    np.savez(tmp_path / "w.npz", w=np.random.default_rng(0).normal(size=(400, 600)).astype(np.float32))
    small_network().save(tmp_path / "net.opq")
    np.save(tmp_path / "x.npy", np.ones((60, 3, 8, 6), dtype=np.float32))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "out.opq").write_bytes(b"old")
    return tmp_path


def refused(*command, words):
    """Exit status 1 and exactly one line, that says `words`."""
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1, result.stderr
    [line] = result.stderr.splitlines()
    assert line.startswith("opq: ")
    for word in words:
        assert word in line
    assert result.stdout == ""


def compress(folder, output):
    """The command that compresses w.npz."""
    return [OPQ, "compress", folder / "w.npz", "-o", output, "--bits", 4, "--quiet"]


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    ("arguments", "suffix"),
    [
        (["compress", "{}/w.npz", "--bits", "4", "--quiet", "-o"], ".opq"),
        (["export", "{}/net.opq", "-o"], ".npz"),
        (["export", "{}/net.opq", "-o"], ".safetensors"),
        (["export", "{}/net.opq", "-o"], ".onnx"),
        (["run", "{}/net.opq", "--input", "{}/x.npy", "--output"], ".npy"),
        (["run", "{}/net.opq", "--input", "{}/x.npy", "--output"], ".npz"),
    ],
)
def test_no_room_for_the_file(arguments, suffix, older, folder):
    """Files are limited to one block of 512 or 1024 bytes: the write fails in its middle."""
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    output = folder / "out" / f"a{suffix}"
    if older:
        output.write_bytes(b"old")
    before = names(folder / "out")
    limited = ["sh", "-c", 'ulimit -f 1 && exec "$@"', "sh", OPQ]
    refused(*limited, *(a.format(folder) for a in arguments), output, words=[str(output), os.strerror(errno.EFBIG)])
    assert names(folder / "out") == before
    assert not older or output.read_bytes() == b"old"


def test_a_full_disk(folder):
    """A file system of 64 kB, which only the command sees."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", folder / "out"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    # The shell mounts, runs the command, and fails unless the old file is the only one and whole.
    script = """
        out=$1; shift
        mount -t tmpfs -o size=64k tmpfs "$out" && printf old > "$out/out.opq" || exit 9
        "$@"; status=$?
        [ "$(ls -A "$out")" = out.opq ] && [ "$(cat "$out/out.opq")" = old ] || exit 8
        exit $status
    """
    output = folder / "out" / "out.opq"
    command = ["unshare", "-rm", "sh", "-c", script, "sh", folder / "out", *compress(folder, output)]
    refused(*command, words=[str(output), os.strerror(errno.ENOSPC)])


def test_a_full_device(folder, full_device):
    refused(*compress(folder, full_device), words=[str(full_device), os.strerror(errno.ENOSPC)])
    assert stat.S_ISCHR(full_device.stat().st_mode)


def test_the_reader_of_the_output_has_gone(folder):
    """A failure, unlike a reader of the printed report that has seen enough."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    command = [*map(str, compress(folder, fifo))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        select.select([reader], [], [], 60)  # the file is larger than a pipe holds: the command waits in its middle
        os.close(reader)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error == f"opq: {fifo}: {os.strerror(errno.EPIPE)}\n"
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_standard_output_is_full(folder, full_device):
    """The report does not fit: one line, and no second complaint at the interpreter's end."""
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    for command in (["inspect", folder / "net.opq"], ["inspect", folder / "net.opq", "--json"]):
        with open(full_device, "wb") as full:
            result = subprocess.run([OPQ, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=buffered)
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
        assert os.strerror(errno.ENOSPC) in result.stderr


@pytest.mark.parametrize("name", ["out.opq", "other.opq"])
def test_a_read_only_folder(name, folder):
    """Root may write anywhere; so it gives that right up for the command."""
    output = folder / "out" / name
    prefix = []
    if os.getuid() == 0:
        prefix = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
        if not shutil.which("setpriv"):
            pytest.skip("root writes anywhere, and there is no setpriv to hinder it")
    (folder / "out").chmod(0o555)
    try:
        if subprocess.run([*prefix, "touch", folder / "out" / "probe"], capture_output=True, check=False).returncode == 0:
            pytest.skip("this user writes into any folder")
        refused(*prefix, *compress(folder, output), words=[str(output), os.strerror(errno.EACCES)])
    finally:
        (folder / "out").chmod(0o755)
    assert names(folder / "out") == ["out.opq"]
    assert (folder / "out" / "out.opq").read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["absent", "dangling", "behind a file"])
def test_the_input_has_vanished(kind, folder):
    source = {"absent": folder / "w.npz", "dangling": folder / "link.npz", "behind a file": folder / "net.opq" / "w.npz"}[kind]
    (folder / "link.npz").symlink_to(folder / "nowhere")
    (folder / "w.npz").unlink()
    for output in (folder / "out" / "out.opq", folder / "out" / "other.opq"):
        refused(OPQ, "compress", source, "-o", output, "--bits", 4, "--quiet", words=[str(source)])
    assert names(folder / "out") == ["out.opq"]
    assert (folder / "out" / "out.opq").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("out", errno.EISDIR),
        ("out/no/such/a.opq", errno.ENOENT),
        ("net.opq/a.opq", errno.ENOTDIR),
        ("out/" + "n" * 256, errno.ENAMETOOLONG),
    ],
)
def test_an_output_that_cannot_be(output, code, folder):
    before = names(folder), names(folder / "out")
    with pytest.raises(OSError) as caught:
        small_network().save(folder / output)
    assert (caught.value.errno, caught.value.filename) == (code, str(folder / output))
    refused(*compress(folder, folder / output), words=[str(folder / output), os.strerror(code)])
    assert (names(folder), names(folder / "out")) == before


@pytest.mark.parametrize("kind", ["path", "relative path", "symbolic link", "hard link"])
def test_the_output_is_the_source(kind, folder):
    output = folder / "same.npz"
    if kind == "path":
        output = folder / "w.npz"
    elif kind == "relative path":
        output = Path(os.path.relpath(folder / "w.npz"))
    elif kind == "symbolic link":
        output.symlink_to("w.npz")
    else:
        output.hardlink_to(folder / "w.npz")
    before = (folder / "w.npz").read_bytes()
    refused(*compress(folder, output), words=[str(output), "the source itself"])
    assert (folder / "w.npz").read_bytes() == before
