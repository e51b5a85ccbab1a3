"""Holes, preallocation, server-side copies, nameless files, birth times: what stock pyfuse3 lacks."""

import ctypes
import errno
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lib9.mounting import Memfs

pytestmark = [pytest.mark.fuse, pytest.mark.root]
Mounting = Callable[..., Memfs]
PAGE = 4096
KEEP_SIZE, PUNCH_HOLE = 1, 2

libc = ctypes.CDLL(None, use_errno=True)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    result = libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length))
    if result:
        raise OSError(ctypes.get_errno(), "fallocate")


def extents(descriptor: int) -> list[tuple[int, int]]:
    """Return the pieces that hold data, as lseek says."""
    found, position, size = [], 0, os.fstat(descriptor).st_size
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            break
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        found.append((start, position))
    return found


@pytest.fixture(params=[(), ("no_open",)], ids=["open", "no_open"])
def point(memfs: Mounting, engine: str, request: pytest.FixtureRequest) -> Path:
    if engine == "stock":
        pytest.skip("stock pyfuse3 has no such handlers")
    return memfs(*request.param).point


@pytest.fixture
def twin() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_punched_hole_is_zeros_and_takes_no_blocks(point: Path) -> None:
    data = os.urandom(50 * PAGE)
    (point / "a").write_bytes(data)
    with (point / "a").open("r+b") as stream:
        assert os.fstat(stream.fileno()).st_blocks == 50 * 8
        fallocate(stream.fileno(), PUNCH_HOLE | KEEP_SIZE, 10 * PAGE + 100, 20 * PAGE)
        assert os.fstat(stream.fileno()).st_blocks == (50 - 19) * 8
        assert os.fstat(stream.fileno()).st_size == len(data)
    start = 10 * PAGE + 100
    expected = data[:start] + bytes(20 * PAGE) + data[start + 20 * PAGE :]
    assert (point / "a").read_bytes() == expected


def test_preallocation(point: Path) -> None:
    with (point / "a").open("w+b") as stream:
        fallocate(stream.fileno(), KEEP_SIZE, 0, 8 * PAGE)
        assert os.fstat(stream.fileno()).st_size == 0
        fallocate(stream.fileno(), 0, 0, 5 * PAGE + 1)
        assert os.fstat(stream.fileno()).st_size == 5 * PAGE + 1
        with pytest.raises(OSError):
            fallocate(stream.fileno(), 0x20, 0, PAGE)  # inserting a range is not supported


@pytest.mark.parametrize("seed", range(6))
def test_data_lies_where_it_lies_on_tmpfs(point: Path, twin: Path, seed: int) -> None:
    dice = random.Random(seed)
    with (
        (point / "a").open("w+b", buffering=0) as ours,
        (twin / "a").open("w+b", buffering=0) as theirs,
    ):
        for _ in range(40):
            offset, length = dice.randrange(100 * PAGE), dice.randrange(1, 12 * PAGE)
            action = dice.choice(["write", "punch", "truncate"])
            data = dice.randbytes(length)
            for stream in (ours, theirs):
                if action == "write":
                    os.pwrite(stream.fileno(), data, offset)
                elif action == "punch":
                    fallocate(stream.fileno(), PUNCH_HOLE | KEEP_SIZE, offset, length)
                else:
                    os.ftruncate(stream.fileno(), offset)
            assert extents(ours.fileno()) == extents(theirs.fileno())
    assert (point / "a").read_bytes() == (twin / "a").read_bytes()


def test_a_copy_is_made_by_the_file_system(memfs: Mounting, engine: str) -> None:
    if engine == "stock":
        pytest.skip("stock pyfuse3 has no such handler")
    mounted = memfs()
    data = os.urandom(2_000_000)
    (mounted.point / "a").write_bytes(data)
    with (mounted.point / "a").open("rb") as source, (mounted.point / "b").open("wb") as target:
        left = len(data)
        while left:
            left -= os.copy_file_range(source.fileno(), target.fileno(), left)
    assert (mounted.point / "b").read_bytes() == data
    assert any(line.startswith("copy ") for line in mounted.trail())


@pytest.mark.parametrize("options", [(), ("no_open",)], ids=["open", "no_open"])
def test_a_file_without_a_name(memfs: Mounting, engine: str, options: tuple[str, ...]) -> None:
    point = memfs(*options).point
    if engine == "stock":
        with pytest.raises(OSError):
            os.open(point, os.O_TMPFILE | os.O_RDWR)
        return
    descriptor = os.open(point, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(descriptor, b"nameless")
    assert os.pread(descriptor, 100, 0) == b"nameless"
    assert os.fstat(descriptor).st_nlink == 0
    source, follow = f"/proc/self/fd/{descriptor}".encode(), 0x400
    linked = libc.linkat(-100, source, -100, os.fsencode(point / "named"), follow)
    os.close(descriptor)
    assert linked == 0
    assert (point / "named").read_bytes() == b"nameless"


def test_birth_time(memfs: Mounting, engine: str) -> None:
    point = memfs().point
    before = int(time.time())
    (point / "a").touch()
    os.utime(point / "a", (1, 1))
    said = subprocess.run(
        ["stat", "-c", "%W %Y", point / "a"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert said[1] == "1"
    assert said[0] == "0" if engine == "stock" else before <= int(said[0]) <= time.time()


def test_stock_says_what_it_cannot(memfs: Mounting, engine: str) -> None:
    if engine != "stock":
        pytest.skip("about stock pyfuse3")
    with (memfs().point / "a").open("w+b", buffering=0) as stream:
        stream.write(bytes(3 * PAGE))
        with pytest.raises(OSError, match="fallocate") as caught:
            fallocate(stream.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, PAGE)
        assert caught.value.errno == errno.EOPNOTSUPP
        assert extents(stream.fileno()) == [(0, 3 * PAGE)]


def _idmapped(path: Path, namespace: int) -> int:
    """Return a descriptor of the mount at `path` seen with the ids of a user namespace."""
    clone, empty_path, idmap = 1, 0x1000, 0x100000
    tree = libc.syscall(428, -100, os.fsencode(path), clone | os.O_CLOEXEC)
    assert tree >= 0, os.strerror(ctypes.get_errno())
    attributes = (ctypes.c_uint64 * 4)(idmap, 0, 0, namespace)
    if libc.syscall(442, tree, b"", empty_path, attributes, 32):
        number = ctypes.get_errno()
        os.close(tree)
        raise OSError(number, "mount_setattr")
    return int(tree)


def test_an_idmapped_mount_shifts_owners(memfs: Mounting, engine: str) -> None:
    mounted = memfs("idmapped")
    (mounted.point / "a").touch()
    with subprocess.Popen(
        ["unshare", "-U", "sh", "-c", "echo x; read y"], stdin=-1, stdout=-1
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child.pid}/{name}").write_text("0 1000 10")
        namespace = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY)
        try:
            if engine == "stock":
                with pytest.raises(OSError) as caught:
                    _idmapped(mounted.point, namespace)
                assert caught.value.errno == errno.EINVAL
                return
            tree = _idmapped(mounted.point, namespace)
            seen = os.stat("a", dir_fd=tree)
            assert (seen.st_uid, seen.st_gid) == (1000, 1000)
            os.close(tree)
        finally:
            os.close(namespace)
            child.communicate(b"\n")
