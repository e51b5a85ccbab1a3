"""What programs do with files and directories, through a real mount, with each engine."""

import ctypes
import errno
import mmap
import os
import stat
import subprocess
from collections.abc import Callable

import pytest

from tests.lib9.mounting import Memfs

pytestmark = [pytest.mark.fuse, pytest.mark.root]
Mounting = Callable[..., Memfs]


@pytest.mark.parametrize("options", [(), ("writeback_cache",), ("no_open",)], ids=str)
class TestFiles:
    def test_write_read_truncate(self, memfs: Mounting, options: tuple[str, ...]) -> None:
        point = memfs(*options).point
        data = os.urandom(3_000_001)
        file = point / "a"
        file.write_bytes(data)
        assert file.read_bytes() == data
        with file.open("r+b", buffering=0) as stream:
            stream.seek(100_000)
            stream.write(b"xyz")
            stream.truncate(200_000)
        expected = data[:100_000] + b"xyz" + data[100_003:200_000]
        assert file.read_bytes() == expected
        assert file.stat().st_size == 200_000

    def test_opening_with_o_trunc_empties_the_file(
        self, memfs: Mounting, options: tuple[str, ...]
    ) -> None:
        point = memfs(*options).point
        (point / "a").write_bytes(b"0123456789" * 1000)
        subprocess.run(["sh", "-c", f"echo new > {point}/a"], check=True)
        assert (point / "a").read_bytes() == b"new\n"
        (point / "a").write_bytes(b"")
        assert (point / "a").stat().st_size == 0

    def test_virtual_files_say_what_they_hold(
        self, memfs: Mounting, options: tuple[str, ...]
    ) -> None:
        point = memfs(*options).point
        for text in ("x", "longer text", "y"):
            subprocess.run(["sh", "-c", f"echo {text} > {point}/ctl"], check=True)
            said = subprocess.run(["cat", f"{point}/ctl"], check=True, capture_output=True).stdout
            assert said == f"{text}\n".encode()

    def test_append_and_map(self, memfs: Mounting, options: tuple[str, ...]) -> None:
        point = memfs(*options).point
        file = point / "a"
        file.write_bytes(bytes(10_000))
        with file.open("ab") as stream:
            stream.write(b"tail")
        with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as area:
            assert area[10_000:] == b"tail"
            area[5000:5003] = b"mid"
            area.flush()
            os.fsync(stream.fileno())
        assert file.read_bytes() == bytes(5000) + b"mid" + bytes(4997) + b"tail"

    def test_an_unlinked_file_lives_while_it_is_open(
        self, memfs: Mounting, options: tuple[str, ...]
    ) -> None:
        point = memfs(*options).point
        with (point / "a").open("w+b", buffering=0) as stream:
            stream.write(b"here")
            (point / "a").unlink()
            assert os.fstat(stream.fileno()).st_nlink == 0
            stream.seek(0)
            assert stream.read() == b"here"
            stream.write(b" still")
            assert os.fstat(stream.fileno()).st_size == 10

    def test_programs_run_from_it(self, memfs: Mounting, options: tuple[str, ...]) -> None:
        point = memfs(*options).point
        subprocess.run(["cp", "/bin/true", point / "true"], check=True)
        subprocess.run([point / "true"], check=True)


def test_names(memfs: Mounting) -> None:
    mounted = memfs()
    point = mounted.point
    (point / "d").mkdir(mode=0o750)
    assert stat.S_IMODE((point / "d").stat().st_mode) == 0o750
    (point / "a").write_text("a")
    (point / "b").write_text("b")
    (point / "l").symlink_to("some/where")
    assert os.readlink(point / "l") == "some/where"
    os.link(point / "a", point / "a2")
    assert (point / "a").stat().st_nlink == 2
    (point / "a2").unlink()
    (point / "a").rename(point / "d" / "moved")
    assert (point / "d" / "moved").read_text() == "a"
    os.mkfifo(point / "fifo")
    assert stat.S_ISFIFO((point / "fifo").lstat().st_mode)
    with pytest.raises(OSError, match="not empty"):
        (point / "d").rmdir()
    (point / "d" / "moved").unlink()
    (point / "d").rmdir()
    with pytest.raises(FileNotFoundError):
        (point / "d").stat()
    with pytest.raises(FileExistsError):
        (point / "b").mkdir()


def _renameat2(old: bytes, new: bytes, flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.renameat2(-100, old, -100, new, flags)
    return ctypes.get_errno() if result else 0


def test_rename_flags(memfs: Mounting) -> None:
    point = memfs().point
    (point / "a").write_text("a")
    (point / "b").write_text("b")
    old, new = os.fsencode(point / "a"), os.fsencode(point / "b")
    assert _renameat2(old, new, 1) == errno.EEXIST
    assert _renameat2(old, new, 2) == 0
    assert (point / "a").read_text() == "b"


def test_listing_a_large_directory_while_it_changes(memfs: Mounting) -> None:
    point = memfs(arguments=("--keep", "0")).point
    folder = point / "d"
    folder.mkdir()
    for number in range(3000):
        (folder / f"file{number:05}").touch()
    listed = []
    with os.scandir(folder) as entries:
        for entry in entries:
            listed.append(entry.name)
            if len(listed) == 10:
                (folder / "file02999").unlink()
                (folder / "file00001").unlink()
    assert len(listed) == len(set(listed))
    assert set(listed) >= {f"file{n:05}" for n in range(2, 2999)}
    said = subprocess.run(["ls", "-a", folder], check=True, capture_output=True, text=True).stdout
    assert said.splitlines()[:3] == [".", "..", "file00000"]


def test_what_the_kernel_forgot_is_forgotten(memfs: Mounting) -> None:
    mounted = memfs()
    for number in range(200):
        (mounted.point / f"f{number}").write_bytes(b"x" * 5000)
    list(os.scandir(mounted.point))
    for number in range(200):
        (mounted.point / f"f{number}").unlink()
    said = mounted.unmount()
    assert said.split() == ["destroyed=True", "inodes=8"]


def test_attributes(memfs: Mounting) -> None:
    point = memfs().point
    file = point / "a"
    file.write_text("a")
    os.utime(file, ns=(1_234_567_890_123_456_789, -1_500_000_000))
    file.chmod(0o4711)
    os.chown(file, 12345, 54321)
    said = file.stat()
    assert (said.st_atime_ns, said.st_mtime_ns) == (1_234_567_890_123_456_789, -1_500_000_000)
    assert (said.st_uid, said.st_gid, stat.S_IMODE(said.st_mode) & 0o777) == (12345, 54321, 0o711)
    before = file.stat().st_ctime_ns
    os.utime(file)
    assert file.stat().st_mtime_ns > 1_700_000_000_000_000_000
    assert file.stat().st_ctime_ns >= before
    space = os.statvfs(point)
    assert (space.f_bsize, space.f_blocks, space.f_bfree, space.f_bavail) == (
        4096,
        1 << 20,
        1 << 19,
        1 << 18,
    )


def test_extended_attributes(memfs: Mounting) -> None:
    point = memfs().point
    file = point / "a"
    file.touch()
    os.setxattr(file, "user.one", b"1\0\xff")
    os.setxattr(file, "user.two", b"x" * 60_000)
    assert os.getxattr(file, "user.one") == b"1\0\xff"
    assert os.getxattr(file, "user.two") == b"x" * 60_000
    assert sorted(os.listxattr(file)) == ["user.one", "user.two"]
    with pytest.raises(FileExistsError):
        os.setxattr(file, "user.one", b"", os.XATTR_CREATE)
    os.removexattr(file, "user.one")
    for call in (os.getxattr, os.removexattr):
        with pytest.raises(OSError, match="No data"):
            call(file, "user.one")
    with pytest.raises(OSError, match="No data"):
        os.setxattr(file, "user.one", b"", os.XATTR_REPLACE)
    (point / "plain").touch()
    assert os.listxattr(point / "plain") == []


def test_sync(memfs: Mounting) -> None:
    mounted = memfs()
    with (mounted.point / "a").open("wb", buffering=0) as stream:
        stream.write(b"x")
        os.fsync(stream.fileno())
        os.fdatasync(stream.fileno())
    folder = os.open(mounted.point, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    trail = mounted.trail()
    assert "fsync 9 9 False" in trail
    assert "fsync 9 9 True" in trail
    assert "fsyncdir 1" in trail


USER = 65534


@pytest.mark.parametrize("options", [(), ("no_open",), ("writeback_cache",)], ids=str)
def test_who_changes_a_file_takes_its_privileges(memfs: Mounting, options: tuple[str, ...]) -> None:
    point = memfs("allow_other", *options).point
    file = point / "a"

    def as_user(change: str) -> None:
        command = ["sh", "-c", change]
        subprocess.run(command, check=True, cwd=point, user=USER, group=USER, extra_groups=[])

    changes = {
        "write": lambda: as_user("printf x >> a"),
        "truncate": lambda: as_user("truncate -s 3 a"),
        "open": lambda: as_user(": > a"),
        "chown": lambda: os.chown(file, USER, USER),
    }
    for before, after in ((0o6757, 0o757), (0o2747, 0o2747), (0o4646, 0o646), (0o1777, 0o1777)):
        for name, change in changes.items():
            file.write_bytes(b"program")
            file.chmod(before)
            change()
            assert stat.S_IMODE(file.stat().st_mode) == after, (name, oct(before))
            file.unlink()


def test_root_keeps_privileges_it_writes_to(memfs: Mounting) -> None:
    file = memfs().point / "a"
    file.write_bytes(b"program")
    file.chmod(0o6755)
    with file.open("ab") as stream:
        stream.write(b"more")
    assert stat.S_IMODE(file.stat().st_mode) == 0o6755


@pytest.mark.parametrize("seconds", [0, 1000])
def test_a_missing_name_may_be_remembered(memfs: Mounting, seconds: int) -> None:
    mounted = memfs(f"missing_keep_seconds={seconds}")
    name = mounted.point / "later"
    for _ in range(5):
        assert not name.exists()
    asked = [line for line in mounted.trail() if line == "missing later"]
    assert len(asked) == (1 if seconds else 5)
    name.write_text("here")
    assert name.read_text() == "here"
    name.unlink()
    assert not name.exists()
    (mounted.point / "other").write_text("moved")
    (mounted.point / "other").rename(name)
    assert name.read_text() == "moved"
