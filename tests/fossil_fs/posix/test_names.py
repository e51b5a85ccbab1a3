"""Names: any bytes, any depth, many; made, linked, moved and removed in every order."""

import errno
import os
import socket
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.fossil_fs.posix.calls import (
    EXCHANGE,
    NOREPLACE,
    WHITEOUT,
    as_user,
    errno_of,
    link_open_file,
    renameat2,
)

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def test_names_of_255_bytes_of_any_byte(place: Path) -> None:
    top = os.fsencode(place)
    every = bytes(set(range(256)) - {0, ord("/")})
    names = [every, every + b"x", b"\xff" * 255, "é".encode() * 127, b" ", b"\n", b"...", b"-rf"]
    for name in names:
        os.close(os.open(os.path.join(top, name), os.O_CREAT | os.O_EXCL))
    assert sorted(os.listdir(top)) == sorted(names)
    assert errno_of(lambda: os.mkdir(os.path.join(top, b"x" * 256))) == "ENAMETOOLONG"
    assert errno_of(lambda: os.stat(os.path.join(top, b"x" * 256))) == "ENAMETOOLONG"
    for name in names:
        os.unlink(os.path.join(top, name))
    assert os.listdir(top) == []


def test_paths_of_4095_bytes(place: Path) -> None:
    room = 4095 - len(os.fsencode(place))
    deep = place
    while room > 256 + 2:
        deep = deep / ("d" * 255)
        deep.mkdir()
        room -= 256
    file = deep / ("f" * (room - 1))
    assert len(os.fsencode(file)) == 4095
    file.write_bytes(b"deep")
    assert file.read_bytes() == b"deep"
    assert errno_of(lambda: os.stat(os.fsencode(file) + b"x")) == "ENAMETOOLONG"
    subprocess.run(["rm", "-r", place / ("d" * 255)], check=True)


def test_many_levels(place: Path) -> None:
    """Deeper than a path can say: by descriptors."""
    opened = os.open(place, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("x" * 20, dir_fd=opened)
        deeper = os.open("x" * 20, os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = deeper
    os.mkdir("bottom", dir_fd=opened)
    up = os.open("../" * 200, os.O_RDONLY, dir_fd=opened)
    assert os.listdir(up) == ["x" * 20]
    os.close(up)
    os.close(opened)
    subprocess.run(["rm", "-r", place / ("x" * 20)], check=True)


def test_exchange_and_noreplace(place: Path) -> None:
    file, directory, missing = place / "file", place / "dir", place / "missing"
    file.write_text("file")
    (directory / "below").mkdir(parents=True)
    for flags, old, new, error in (
        (NOREPLACE, file, directory, errno.EEXIST),
        (NOREPLACE, file, file, errno.EEXIST),
        (EXCHANGE, file, missing, errno.ENOENT),
        (EXCHANGE, missing, file, errno.ENOENT),
        (EXCHANGE | NOREPLACE, file, directory, errno.EINVAL),
        (EXCHANGE, directory, directory / "below", errno.EINVAL),
        (0, directory, directory / "below" / "x", errno.EINVAL),
        (128, file, missing, errno.EINVAL),
    ):
        with pytest.raises(OSError) as caught:
            renameat2(old, new, flags)
        assert caught.value.errno == error, (flags, old, new)
    before = file.stat().st_ino, directory.stat().st_ino
    renameat2(file, directory, EXCHANGE)
    assert (directory.stat().st_ino, file.stat().st_ino) == before
    assert directory.read_text() == "file"
    assert os.listdir(file) == ["below"]
    renameat2(directory, missing, NOREPLACE)
    assert sorted(os.listdir(place)) == ["file", "missing"]


def test_exchange_across_directories_counts_subdirectories(place: Path) -> None:
    one, two = place / "one", place / "two"
    (one / "dir").mkdir(parents=True)
    two.mkdir()
    (two / "file").write_text("x")
    renameat2(one / "dir", two / "file", EXCHANGE)
    assert (one.stat().st_nlink, two.stat().st_nlink) == (2, 3)
    assert (one / "dir").read_text() == "x"
    assert (two / "file").is_dir()


def test_rename_over_what_is_there(place: Path) -> None:
    for name in ("file", "other"):
        (place / name).write_text(name)
    for name in ("empty", "full/below"):
        (place / name).mkdir(parents=True)
    cases = [
        ("file", "empty", "EISDIR"),
        ("empty", "file", "ENOTDIR"),
        ("empty", "full", "ENOTEMPTY"),
        ("full", "empty", ""),
        ("file", "other", ""),
        ("missing", "other", "ENOENT"),
        ("other", "missing/x", "ENOENT"),
        ("other", "other/x", "ENOTDIR"),
        ("empty/.", "other", "EBUSY"),
    ]
    for old, new, error in cases:
        # strings: a Path would lose the dot
        call = partial(os.rename, f"{place}/{old}", f"{place}/{new}")
        assert errno_of(call) == error, (old, new)
    assert (place / "other").read_text() == "file"
    assert sorted(os.listdir(place)) == ["empty", "other"]
    assert os.listdir(place / "empty") == ["below"]


def test_rename_of_two_names_of_one_file_does_nothing(place: Path) -> None:
    (place / "a").write_text("x")
    os.link(place / "a", place / "b")
    os.rename(place / "a", place / "b")
    assert sorted(os.listdir(place)) == ["a", "b"]
    assert (place / "a").stat().st_nlink == 2


def test_whiteouts_are_refused_or_made(place: Path) -> None:
    """RENAME_WHITEOUT is for overlayfs; a file system without it says EINVAL."""
    (place / "a").write_text("x")
    if errno_of(lambda: renameat2(place / "a", place / "b", WHITEOUT)) == "":
        left = (place / "a").lstat()
        assert (stat.S_ISCHR(left.st_mode), left.st_rdev) == (True, 0)
    else:
        assert os.listdir(place) == ["a"]


def test_hard_links_are_one_file(place: Path) -> None:
    (place / "dir").mkdir()
    (place / "a").write_text("1")
    os.link(place / "a", place / "dir/b")
    os.link(place / "dir/b", place / "c")
    assert len({(place / name).stat().st_ino for name in ("a", "dir/b", "c")}) == 1
    assert (place / "c").stat().st_nlink == 3
    os.chmod(place / "c", 0o600)
    (place / "dir/b").write_text("22")
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o600
    os.unlink(place / "a")
    assert (place / "c").read_text() == "22"
    assert (place / "dir/b").stat().st_nlink == 2
    os.rename(place / "dir/b", place / "c")  # the same file: nothing happens
    assert errno_of(lambda: os.link(place / "dir", place / "hard")) == "EPERM"


def test_hard_links_of_other_kinds(place: Path) -> None:
    os.symlink("target", place / "symlink")
    os.mkfifo(place / "fifo")
    os.mknod(place / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    for name in ("symlink", "fifo", "device"):
        os.link(place / name, place / f"{name}2", follow_symlinks=False)
        one, two = (place / name).lstat(), (place / f"{name}2").lstat()
        assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)
        assert stat.S_IFMT(one.st_mode) == stat.S_IFMT(two.st_mode)


def test_open_files_outlive_their_names(place: Path) -> None:
    path = place / "file"
    path.write_bytes(b"0" * 100_000)
    opened = os.open(path, os.O_RDWR)
    os.setxattr(path, "user.x", b"1")
    os.unlink(path)
    assert os.listdir(place) == []
    assert os.fstat(opened).st_nlink == 0
    os.pwrite(opened, b"1" * 10, 150_000)
    os.fchmod(opened, 0o640)
    os.setxattr(opened, "user.y", b"2")
    assert os.getxattr(opened, "user.x") == b"1"
    os.ftruncate(opened, 150_005)
    os.fsync(opened)
    found = os.fstat(opened)
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (150_005, 0o640)
    assert os.pread(opened, 10, 149_995) == b"\0" * 5 + b"1" * 5
    again = os.open(f"/proc/self/fd/{opened}", os.O_RDONLY)
    assert os.pread(again, 1, 0) == b"0"
    os.close(again)
    os.close(opened)


def test_open_files_outlive_a_rename_over_them(place: Path) -> None:
    for name in "ab":
        (place / name).write_text(name)
    with open(place / "b") as file:
        os.rename(place / "a", place / "b")
        assert file.read() == "b"
        assert os.fstat(file.fileno()).st_nlink == 0
    assert (place / "b").read_text() == "a"


def test_directories_outlive_their_names(place: Path) -> None:
    (place / "dir").mkdir()
    opened = os.open(place / "dir", os.O_RDONLY)
    os.rmdir(place / "dir")
    assert os.listdir(opened) == []
    assert errno_of(lambda: os.mkdir("x", dir_fd=opened)) == "ENOENT"
    assert errno_of(lambda: os.stat("x", dir_fd=opened)) == "ENOENT"
    assert os.fstat(opened).st_nlink == 0
    (place / "dir").mkdir()  # another one
    assert os.stat(place / "dir").st_ino != os.fstat(opened).st_ino
    os.close(opened)


@pytest.mark.shim("O_TMPFILE")
def test_unnamed_files(place: Path) -> None:
    opened = os.open(place, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(opened, b"text")
    found = os.fstat(opened)
    assert (found.st_nlink, found.st_size, stat.S_IMODE(found.st_mode)) == (0, 4, 0o640)
    assert os.listdir(place) == []
    link_open_file(opened, place / "named")
    assert os.fstat(opened).st_nlink == 1
    os.pwrite(opened, b"T", 0)
    os.close(opened)
    assert (place / "named").read_bytes() == b"Text"
    os.close(os.open(place, os.O_TMPFILE | os.O_WRONLY))
    excluded = os.open(place, os.O_TMPFILE | os.O_RDWR | os.O_EXCL)
    assert errno_of(lambda: link_open_file(excluded, place / "never")) == "ENOENT"
    os.close(excluded)
    assert os.listdir(place) == ["named"]


def test_kinds_of_files(place: Path) -> None:
    os.mkfifo(place / "fifo", 0o640)
    os.mknod(place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(place / "disk", stat.S_IFBLK | 0o600, os.makedev(4095, 1048575))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        here = os.getcwd()
        os.chdir(place)
        try:
            listener.bind("socket")
            listener.listen()
            client.connect("socket")
        finally:
            os.chdir(here)
    (place / "null").write_bytes(b"gone")
    assert (place / "null").read_bytes() == b""
    found = (place / "disk").stat()
    assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (4095, 1048575)
    assert stat.S_ISSOCK((place / "socket").stat().st_mode)
    reader = os.open(place / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    (place / "fifo").write_bytes(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)


def test_symlinks(place: Path) -> None:
    os.symlink(b"t" * 4095, place / "long")
    assert os.readlink(place / "long") == "t" * 4095
    assert (place / "long").lstat().st_size == 4095
    assert errno_of(lambda: os.symlink(b"t" * 4096, place / "longer")) == "ENAMETOOLONG"
    assert errno_of(lambda: os.symlink(b"", place / "empty")) == "ENOENT"
    os.symlink(b"\xff\n", place / "bytes")
    assert os.readlink(os.fsencode(place / "bytes")) == b"\xff\n"
    os.symlink("loop", place / "loop")
    assert errno_of(lambda: os.stat(place / "loop")) == "ELOOP"
    assert errno_of(lambda: os.readlink(place)) == "EINVAL"
    (place / "file").write_text("x")
    os.symlink("file", place / "to-file")
    assert (place / "to-file").read_text() == "x"
    assert errno_of(lambda: os.open(place / "to-file", os.O_NOFOLLOW)) == "ELOOP"
    os.chown(place / "to-file", 12, 13, follow_symlinks=False)
    assert (place / "to-file").lstat().st_uid == 12
    assert (place / "file").stat().st_uid == 0


def test_listing_goes_on_while_entries_come_and_go(place: Path) -> None:
    names = {f"{number:04}" for number in range(3000)}
    for name in names:
        os.close(os.open(place / name, os.O_CREAT))
    seen = set()
    with os.scandir(place) as entries:
        for number, entry in enumerate(entries):
            assert entry.name not in seen
            seen.add(entry.name)
            os.unlink(place / entry.name)
            if number < 100:
                os.close(os.open(place / f"new{number}", os.O_CREAT))
    assert names <= seen
    left = set(os.listdir(place))
    assert left.isdisjoint(names)
    for name in left:
        os.unlink(place / name)
    assert os.listdir(place) == []
    os.rmdir(place)
    place.mkdir()


def test_seeking_in_a_listing(place: Path) -> None:
    """telldir and seekdir: a place in a listing stays where it is."""
    import ctypes

    for number in range(500):
        (place / f"{number}").mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long

    def name() -> bytes:
        entry = libc.readdir(ctypes.c_void_p(directory))
        return ctypes.string_at(entry + 19) if entry else b""

    directory = libc.opendir(os.fsencode(place))
    places = []
    while True:
        at = libc.telldir(ctypes.c_void_p(directory))
        found = name()
        if not found:
            break
        places.append((at, found))
    assert len({found for _, found in places}) == 502
    for at, expected in places[::37]:
        libc.seekdir(ctypes.c_void_p(directory), ctypes.c_long(at))
        assert name() == expected
    libc.rewinddir(ctypes.c_void_p(directory))
    assert name() == places[0][1]
    libc.closedir(ctypes.c_void_p(directory))


def test_link_counts_of_directories(place: Path) -> None:
    top = place / "top"
    top.mkdir()
    for name in "abc":
        (top / name).mkdir()
    (top / "file").write_text("x")
    assert top.stat().st_nlink == 5
    os.rename(top / "a", place / "a")
    os.rmdir(top / "b")
    assert top.stat().st_nlink == 3


def test_sticky_directories(place: Path) -> None:
    place.chmod(0o1777)
    (place / "roots").write_text("x")
    assert errno_of(lambda: as_user(lambda: os.unlink(place / "roots"))) == "EPERM"
    assert errno_of(lambda: as_user(lambda: os.rename(place / "roots", place / "x"))) == "EPERM"

    def make_and_remove() -> None:
        (place / "mine").write_text("x")
        os.unlink(place / "mine")

    as_user(make_and_remove)


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.long)])
def test_large_directories(place: Path, count: int) -> None:
    top = place / "many"
    top.mkdir()
    opened = os.open(top, os.O_RDONLY)
    for number in range(count):
        os.close(os.open(f"{number:06}", os.O_CREAT | os.O_WRONLY, dir_fd=opened))
    os.close(opened)
    assert len(os.listdir(top)) == count
    assert (top / f"{count // 2:06}").stat().st_size == 0
    assert errno_of(lambda: os.rmdir(top)) == "ENOTEMPTY"
    subprocess.run(["rm", "-r", top], check=True)
    assert os.listdir(place) == []
