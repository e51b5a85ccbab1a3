"""Bytes of files: holes, maps, direct I/O, locks, appends, from several processes at once."""

import ctypes
import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fossil_fs.posix.anyone import Mounted
from tests.fossil_fs.posix.calls import (
    COLLAPSE_RANGE,
    KEEP_SIZE,
    PUNCH_HOLE,
    ZERO_RANGE,
    errno_of,
    fallocate,
)

pytestmark = [pytest.mark.fuse, pytest.mark.root]

UNIT = 64 << 10


def in_child(call: Callable[[], object]) -> None:
    """Run `call` in a process of its own; fail if it does."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.shim("fallocate")
def test_blocks_say_what_is_taken(place: Path) -> None:
    path = place / "file"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    assert path.stat().st_blocks * 512 < 1 << 20
    with open(path, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), os.urandom(1 << 20), 512 << 20)
        os.fsync(file.fileno())
    assert 1 << 20 <= path.stat().st_blocks * 512 < 3 << 20
    fallocate_range(path, PUNCH_HOLE | KEEP_SIZE, 0, 1 << 30)
    assert path.stat().st_blocks * 512 < 1 << 20
    (place / "small").write_bytes(b"x" * 5000)
    assert 5000 <= (place / "small").stat().st_blocks * 512 <= 16384


def fallocate_range(path: Path, mode: int, offset: int, length: int) -> None:
    opened = os.open(path, os.O_RDWR)
    try:
        fallocate(opened, mode, offset, length)
    finally:
        os.close(opened)


@pytest.mark.shim("SEEK_DATA")
def test_data_and_holes(place: Path) -> None:
    path = place / "file"
    opened = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(opened, 100 * UNIT)
    for unit in (10, 11, 50):
        os.pwrite(opened, b"x" * UNIT, unit * UNIT)
    os.fsync(opened)
    found = []
    at = 0
    while True:
        try:
            data = os.lseek(opened, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(opened, data, os.SEEK_HOLE)
        found.append((data // UNIT, at // UNIT))
    assert found == [(10, 12), (50, 51)]
    assert errno_of(lambda: os.lseek(opened, 100 * UNIT, os.SEEK_DATA)) == "ENXIO"
    assert errno_of(lambda: os.lseek(opened, 100 * UNIT, os.SEEK_HOLE)) == "ENXIO"
    assert os.lseek(opened, 99 * UNIT, os.SEEK_HOLE) == 99 * UNIT
    assert errno_of(lambda: os.lseek(opened, 60 * UNIT, os.SEEK_DATA)) == "ENXIO"
    os.close(opened)


def test_a_file_of_100_gib(place: Path) -> None:
    path = place / "sparse"
    opened = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(opened, 100 << 30)
    os.pwrite(opened, b"end", (100 << 30) - 3)
    os.pwrite(opened, b"middle", 50 << 30)
    assert os.lseek(opened, 0, os.SEEK_DATA) <= 50 << 30
    assert os.pread(opened, 10, (100 << 30) - 3) == b"end"
    assert os.pread(opened, 6, 50 << 30) == b"middle"
    assert os.pread(opened, 10, 25 << 30) == bytes(10)
    assert os.fstat(opened).st_blocks * 512 < 1 << 20
    os.close(opened)
    os.unlink(path)


@pytest.mark.shim("SEEK_DATA")
def test_a_sparse_file_is_saved_as_one(mounted: Mounted) -> None:
    path = mounted.point / "sparse"
    with open(path, "wb") as file:
        file.truncate(100 << 30)
        file.seek(50 << 30)
        file.write(b"middle")
    mounted.machine.save(mounted.point)
    with open(path, "r+b", buffering=0) as file:
        assert os.pread(file.fileno(), 6, 50 << 30) == b"middle"
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 50 << 30
        os.pwrite(file.fileno(), b"more", 75 << 30)
    mounted.machine.save(mounted.point)
    with open(path, "rb") as file:
        assert os.pread(file.fileno(), 6, 50 << 30) == b"middle"
        assert os.pread(file.fileno(), 4, 75 << 30) == b"more"
    path.unlink()


@pytest.mark.shim("fallocate")
def test_sizes_have_a_limit(place: Path) -> None:
    path = place / "file"
    path.write_text("x")
    assert errno_of(lambda: os.truncate(path, -1)) == "EINVAL"
    opened = os.open(path, os.O_RDWR)
    assert errno_of(lambda: os.pwrite(opened, b"x", (1 << 63) - 1)) in ("EFBIG", "EINVAL")
    assert os.fstat(opened).st_size == 1
    for size in (1 << 48, 1 << 50, (1 << 63) - 2):  # fewer bits than Linux has, in a tree
        error = errno_of(lambda size=size: os.pwrite(opened, b"x", size))  # type: ignore[misc]
        assert error in ("", "EFBIG")
        error = errno_of(lambda size=size: fallocate(opened, KEEP_SIZE, size, 1))  # type: ignore[misc]
        assert error in ("", "EFBIG", "ENOSPC")
    os.close(opened)


@pytest.mark.shim("fallocate")
@pytest.mark.parametrize("size", [100, 5000, 3 * UNIT + 77])
def test_fallocate(place: Path, size: int) -> None:
    path = place / "file"
    data = random.Random(size).randbytes(size)
    path.write_bytes(data)
    opened = os.open(path, os.O_RDWR)
    fallocate(opened, KEEP_SIZE, size, 100_000)
    assert path.read_bytes() == data
    fallocate(opened, 0, size - 10, 5010)
    assert path.read_bytes() == data + bytes(5000)
    fallocate(opened, PUNCH_HOLE | KEEP_SIZE, 10, size - 50)
    expected = data[:10] + bytes(size - 50) + data[size - 40 :] + bytes(5000)
    assert path.read_bytes() == expected
    fallocate(opened, PUNCH_HOLE | KEEP_SIZE, size + 4000, 1 << 20)
    assert path.read_bytes() == expected
    for mode, offset, length, errors in (
        (0, 0, 0, ("EINVAL",)),
        (0, -1, 10, ("EINVAL",)),
        (PUNCH_HOLE, 0, 10, ("EOPNOTSUPP", "ENOTSUP")),
        (COLLAPSE_RANGE | KEEP_SIZE, 0, 4096, ("EINVAL", "EOPNOTSUPP", "ENOTSUP")),
        (0, (1 << 63) - 1, 1, ("EFBIG",)),
    ):
        error = errno_of(lambda m=mode, o=offset, n=length: fallocate(opened, m, o, n))  # type: ignore[misc]
        assert error in errors, (mode, offset, length)
    os.close(opened)


@pytest.mark.shim("fallocate")
def test_zero_range(mounted: Mounted) -> None:
    """What a tmpfs does not have."""
    path = mounted.point / "zeroed"
    data = os.urandom(4 * UNIT)
    path.write_bytes(data)
    opened = os.open(path, os.O_RDWR)
    fallocate(opened, ZERO_RANGE, UNIT - 7, 2 * UNIT)
    assert path.read_bytes() == data[: UNIT - 7] + bytes(2 * UNIT) + data[3 * UNIT - 7 :]
    fallocate(opened, ZERO_RANGE | KEEP_SIZE, 3 * UNIT, 2 * UNIT)
    assert path.stat().st_size == 4 * UNIT
    fallocate(opened, ZERO_RANGE, 4 * UNIT - 1, 2)
    assert path.stat().st_size == 4 * UNIT + 1
    os.close(opened)
    path.unlink()


def test_maps_are_shared(place: Path) -> None:
    path = place / "file"
    path.write_bytes(bytes(20 * 4096))
    opened = os.open(path, os.O_RDWR)
    with mmap.mmap(opened, 0) as area:

        def other() -> None:
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mine:
                mine[4096:4100] = b"them"
                assert mine[:2] == b"us"

        area[:2] = b"us"
        in_child(other)
        assert area[4096:4100] == b"them"
        assert os.pread(opened, 4, 4096) == b"them"
        os.pwrite(opened, b"written", 8192)
        assert area[8192:8199] == b"written"
        area[12288:12290] = b"in"
        assert os.pread(opened, 2, 12288) == b"in"
        area.flush()
    os.ftruncate(opened, 8000)
    os.ftruncate(opened, 20 * 4096)
    assert os.pread(opened, 7, 8192) == bytes(7)
    os.close(opened)
    found = path.read_bytes()
    assert (found[:2], found[4096:4100], len(found)) == (b"us", b"them", 20 * 4096)


def test_maps_of_a_large_file_at_random(place: Path) -> None:
    path = place / "file"
    size = 2 << 20
    expected = bytearray(os.urandom(size))
    path.write_bytes(expected)
    dice = random.Random(1)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), size) as area:
        for _ in range(300):
            at = dice.randrange(size - 9)
            area[at : at + 8] = expected[at : at + 8] = dice.randbytes(8)
        area.flush()
        os.fsync(file.fileno())
    assert path.read_bytes() == expected


def test_private_maps_and_programs(place: Path) -> None:
    path = place / "true"
    path.write_bytes(Path("/bin/true").read_bytes())
    path.chmod(0o755)
    subprocess.run([path], check=True)
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as area:
            area[:4] = b"none"
        assert file.read(4) == b"\x7fELF"
    with subprocess.Popen(["sleep", "60"]) as unrelated:
        unrelated.terminate()
    runner = place / "sleep"
    runner.write_bytes(Path("/bin/sleep").read_bytes())
    runner.chmod(0o755)
    with subprocess.Popen([runner, "60"]) as running:
        assert errno_of(lambda: os.open(runner, os.O_WRONLY)) == "ETXTBSY"
        os.unlink(runner)
        running.terminate()


def test_direct_io(place: Path) -> None:
    path = place / "file"
    size = 1 << 20
    area = mmap.mmap(-1, size)  # on a page's boundary
    area.write(os.urandom(size))
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    assert os.pwritev(opened, [area], 0) == size
    assert os.pwritev(opened, [memoryview(area)[:4096]], 3 * size) == 4096
    back = mmap.mmap(-1, size)
    assert os.preadv(opened, [back], 0) == size
    assert back[:] == area[:]
    os.close(opened)
    assert path.stat().st_size == 3 * size + 4096
    found = path.read_bytes()
    assert found[:size] == area[:]
    assert found[size : 3 * size] == bytes(2 * size)
    assert found[3 * size :] == area[:4096]
    buffered = os.open(path, os.O_RDWR)
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    for number in range(20):  # each sees at once what the other wrote
        os.pwrite(buffered, bytes([number]) * 4096, 4096)
        assert os.preadv(direct, [memoryview(back)[:4096]], 4096) == 4096
        assert back[:4096] == bytes([number]) * 4096
        back[:4096] = bytes([number + 100]) * 4096
        os.pwritev(direct, [memoryview(back)[:4096]], 4096)
        assert os.pread(buffered, 4096, 4096) == bytes([number + 100]) * 4096
    os.close(buffered)
    os.close(direct)


def test_appends_of_several_processes(place: Path) -> None:
    path = place / "log"
    script = (
        "import os, sys\n"
        "f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "for n in range(200): os.write(f, (sys.argv[2] + f'{n:06}').encode() * 10 + b'\\n')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, path, letter]) for letter in "abcd"]
    assert [writer.wait() for writer in writers] == [0] * 4
    lines = path.read_text().splitlines()
    assert len(lines) == 800
    assert all(line == line[:7] * 10 for line in lines)
    for letter in "abcd":
        assert [line for line in lines if line[0] == letter] == [
            f"{letter}{n:06}" * 10 for n in range(200)
        ]


def test_record_locks(place: Path) -> None:
    path = place / "file"
    path.write_bytes(bytes(100))
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 0)

        def other() -> None:
            with open(path, "r+b") as mine:
                assert errno_of(lambda: fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5)) in (
                    "EAGAIN",
                    "EACCES",
                )
                fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
                asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 5, 0)
                said = struct.unpack("hhqqi", fcntl.fcntl(mine, fcntl.F_GETLK, asked))
                assert said[0] == fcntl.F_WRLCK
                assert said[4] == os.getppid()

        in_child(other)
        fcntl.lockf(file, fcntl.LOCK_UN, 10, 0)

        def now_free() -> None:
            with open(path, "r+b") as mine:
                fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)

        in_child(now_free)


def test_whole_file_locks(place: Path) -> None:
    path = place / "file"
    path.write_text("x")
    with open(path) as one, open(path) as two:
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert errno_of(lambda: fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)) == "EAGAIN"
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        waited = threading.Thread(target=fcntl.flock, args=(one, fcntl.LOCK_EX))
        waited.start()
        fcntl.flock(two, fcntl.LOCK_UN)
        waited.join(10)
        assert not waited.is_alive()


def test_open_file_description_locks(place: Path) -> None:
    path = place / "file"
    path.write_bytes(bytes(10))
    setlk = 37  # F_OFD_SETLK
    whole = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
    with open(path, "r+b") as one, open(path, "r+b") as two:
        fcntl.fcntl(one, setlk, whole)
        assert errno_of(lambda: fcntl.fcntl(two, setlk, whole)) == "EAGAIN"
        one.close()
        fcntl.fcntl(two, setlk, whole)


def test_copies_in_the_kernel(place: Path) -> None:
    data = os.urandom(3 * UNIT + 5)
    (place / "from").write_bytes(data)
    with open(place / "from", "rb") as source, open(place / "to", "w+b") as target:
        copied = 0
        while copied < len(data):
            copied += os.copy_file_range(source.fileno(), target.fileno(), len(data), copied)
        assert os.copy_file_range(source.fileno(), target.fileno(), 10, len(data)) == 0
        assert (place / "to").read_bytes() == data
        os.ftruncate(target.fileno(), 0)
        os.lseek(target.fileno(), 0, os.SEEK_SET)
        sent = os.sendfile(target.fileno(), source.fileno(), 0, len(data))
        assert sent == len(data)
    assert (place / "to").read_bytes() == data
    subprocess.run(
        ["cp", "--reflink=auto", "--sparse=always", place / "to", place / "3"], check=True
    )
    subprocess.run(["cmp", place / "3", place / "from"], check=True)


def test_overlapping_copies_are_refused(place: Path) -> None:
    path = place / "file"
    path.write_bytes(bytes(1000))
    opened = os.open(path, os.O_RDWR)
    assert errno_of(lambda: os.copy_file_range(opened, opened, 500, 0, 100)) == "EINVAL"
    os.close(opened)


def test_flags_of_open(place: Path) -> None:
    path = place / "file"
    path.write_text("text")
    assert errno_of(lambda: os.open(path, os.O_CREAT | os.O_EXCL)) == "EEXIST"
    assert errno_of(lambda: os.open(path, os.O_DIRECTORY)) == "ENOTDIR"
    assert errno_of(lambda: os.open(place, os.O_WRONLY)) == "EISDIR"
    assert errno_of(lambda: os.open(place, os.O_CREAT | os.O_RDWR)) == "EISDIR"
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT))
    assert path.read_text() == "text"
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT))
    assert path.read_text() == ""
    opened = os.open(path, os.O_RDONLY)
    assert errno_of(lambda: os.write(opened, b"x")) == "EBADF"
    os.close(opened)
    opened = os.open(path, os.O_WRONLY | os.O_SYNC | os.O_APPEND)
    os.write(opened, b"synced")
    os.close(opened)
    assert path.read_text() == "synced"
    opened = os.open(path, os.O_PATH)
    assert os.fstat(opened).st_size == 6
    os.close(opened)
    path.chmod(0)
    created = os.open(place / "unwritable", os.O_CREAT | os.O_WRONLY, 0o444)
    os.write(created, b"but open")  # the mode counts from the next open on
    os.close(created)


def test_statvfs_counts(mounted: Mounted) -> None:
    """Space is that of the scratch: what may still be changed."""
    before = os.statvfs(mounted.point)
    assert before.f_blocks > before.f_bfree > 0
    (mounted.point / "large").write_bytes(os.urandom(8 << 20))
    after = os.statvfs(mounted.point)
    taken = (before.f_bfree - after.f_bfree) * before.f_frsize
    assert 8 << 20 <= taken < 10 << 20
    (mounted.point / "large").unlink()


def test_inotify_tells_of_changes_made_here(place: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watcher, os.fsencode(place), 0x100 | 0x200) >= 0  # create, delete
    (place / "a").mkdir()
    (place / "a").rmdir()
    events = os.read(watcher, 4096)
    assert events.count(b"a\0") == 2
    os.close(watcher)
