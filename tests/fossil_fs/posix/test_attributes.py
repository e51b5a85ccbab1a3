"""Owners, modes, times, ACLs and extended attributes; what changes them unasked."""

import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fossil_fs.posix.anyone import Mounted
from tests.fossil_fs.posix.calls import (
    GROUP,
    USER,
    as_user,
    errno_of,
    name_to_handle,
    open_by_handle,
)

pytestmark = [pytest.mark.fuse, pytest.mark.root]

CLOCK_REALTIME_COARSE = 5
OTHER = 1203  # a group that USER is made a member of


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def users_file(path: Path, bits: int) -> Path:
    path.write_bytes(b"#!/bin/true\n")
    os.chown(path, USER, GROUP)
    os.chmod(path, bits)
    return path


def test_setgid_directories_give_their_group(place: Path) -> None:
    top = place / "top"
    top.mkdir()
    os.chown(top, 0, OTHER)
    os.chmod(top, 0o2777)

    def make() -> None:
        os.umask(0)
        (top / "file").write_text("x")
        (top / "dir").mkdir()
        os.symlink("x", top / "symlink")

    as_user(make)
    for name in ("file", "dir", "symlink"):
        found = (top / name).lstat()
        assert (found.st_uid, found.st_gid) == (USER, OTHER), name
    assert mode(top / "dir") & stat.S_ISGID
    assert not mode(top / "file") & stat.S_ISGID


def test_setgid_is_not_for_strangers_to_the_group(place: Path) -> None:
    top = place / "top"
    top.mkdir()
    os.chown(top, 0, OTHER)
    os.chmod(top, 0o2777)

    def make() -> int:
        os.umask(0)
        os.close(os.open(top / "file", os.O_CREAT, 0o2775))
        return mode(top / "file")

    assert as_user(make) == 0o775
    (top / "file").unlink()
    assert as_user(make, groups=(OTHER,)) == 0o2775
    strangers = users_file(place / "strangers", 0o755)
    os.chown(strangers, USER, OTHER)
    as_user(lambda: os.chmod(strangers, 0o2755))
    assert mode(strangers) == 0o755
    as_user(lambda: os.chmod(strangers, 0o2755), groups=(OTHER,))
    assert mode(strangers) == 0o2755


@pytest.mark.parametrize(
    ("bits", "left"), [(0o6755, 0o755), (0o4711, 0o711), (0o2755, 0o755), (0o6644, 0o2644)]
)
@pytest.mark.parametrize("how", ["write", "truncate", "append", "mapped-later", "fallocate"])
def test_writing_takes_set_id_bits_away(place: Path, bits: int, left: int, how: str) -> None:
    path = users_file(place / "file", bits)

    def change() -> None:
        if how == "truncate":
            os.truncate(path, 3)
        elif how == "append":
            with open(path, "ab") as file:
                file.write(b"x")
        elif how == "fallocate":
            opened = os.open(path, os.O_RDWR)
            os.posix_fallocate(opened, 0, 100)
        else:
            opened = os.open(path, os.O_WRONLY)
            os.pwrite(opened, b"x", 0)

    before = path.stat()
    as_user(change)
    if how == "fallocate":
        return  # file systems differ here; the bytes below matter
    assert mode(path) == left
    assert path.stat().st_ctime_ns >= before.st_ctime_ns


def test_writing_as_root_keeps_set_id_bits(place: Path) -> None:
    path = users_file(place / "file", 0o6755)
    with open(path, "ab") as file:
        file.write(b"x")
    assert mode(path) == 0o6755


def test_a_new_owner_takes_set_id_bits_away(place: Path) -> None:
    path = users_file(place / "file", 0o6755)
    os.chown(path, 0, 0)
    assert mode(path) == 0o755
    fifo = place / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o6755)
    os.chown(fifo, USER, GROUP)
    assert mode(fifo) == 0o755
    directory = place / "dir"
    directory.mkdir()
    directory.chmod(0o6755)
    os.chown(directory, USER, GROUP)
    assert mode(directory) == 0o6755
    path = users_file(place / "other", 0o6755)
    as_user(lambda: os.chown(path, -1, OTHER), groups=(OTHER,))
    assert mode(path) == 0o755
    assert errno_of(lambda: as_user(lambda: os.chown(path, 0, -1))) == "EPERM"


def test_capabilities_go_with_the_first_write(place: Path) -> None:
    path = place / "program"
    path.write_text("x")
    value = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep
    os.setxattr(path, "security.capability", value)
    assert os.getxattr(path, "security.capability") == value
    path.write_text("y")
    assert errno_of(lambda: os.getxattr(path, "security.capability")) == "ENODATA"
    os.setxattr(path, "security.capability", value)
    assert os.getxattr(path, "security.capability") == value
    os.chown(path, USER, GROUP)
    assert errno_of(lambda: os.getxattr(path, "security.capability")) == "ENODATA"
    os.link(path, place / "again")
    os.setxattr(place / "again", "security.capability", value)
    assert os.getxattr(path, "security.capability") == value


def test_permissions_are_checked(place: Path) -> None:
    secret = place / "secret"
    secret.write_text("x")
    secret.chmod(0o640)
    closed = place / "closed"
    closed.mkdir(mode=0o711)
    (closed / "open").write_text("x")
    (closed / "open").chmod(0o644)
    assert errno_of(lambda: as_user(secret.read_text)) == "EACCES"
    assert as_user((closed / "open").read_text) == "x"
    assert errno_of(lambda: as_user(lambda: os.listdir(closed))) == "EACCES"
    os.chown(secret, 0, OTHER)
    assert as_user(secret.read_text, groups=(OTHER,)) == "x"
    assert errno_of(lambda: as_user(lambda: os.chmod(secret, 0o777))) == "EPERM"
    assert errno_of(lambda: as_user(lambda: os.utime(secret, (1, 1)))) == "EPERM"
    assert errno_of(lambda: as_user(lambda: os.utime(secret))) == "EACCES"
    assert not as_user(lambda: os.access(secret, os.W_OK))


def test_umask(place: Path) -> None:
    def make() -> None:
        os.umask(0o027)
        (place / "file").write_text("x")
        (place / "dir").mkdir()
        os.mkfifo(place / "fifo")

    as_user(make)
    assert [mode(place / name) for name in ("file", "dir", "fifo")] == [0o640, 0o750, 0o640]


@pytest.mark.parametrize(
    "nanoseconds",
    [0, 1, 999_999_999, -1, -1_000_000_001, 2**31 * 10**9 + 5, 2**32 * 10**9, 2**33 * 10**9 + 7],
)
def test_times_of_any_age(place: Path, nanoseconds: int) -> None:
    path = place / "file"
    path.write_text("x")
    os.utime(path, ns=(nanoseconds, nanoseconds + 1))
    found = path.stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (nanoseconds, nanoseconds + 1)


def test_what_changes_which_time(place: Path) -> None:
    path, top = place / "dir" / "file", place / "dir"
    top.mkdir()
    path.write_text("x")
    old = 1_000_000_000_000_000_000

    def changed(path: Path, call: Callable[[], object]) -> str:
        """Return which times `call` makes new."""
        os.utime(path, ns=(old, old))
        ctime = path.stat().st_ctime_ns
        while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= ctime:
            pass  # the kernel's clock for files goes in steps
        call()
        found = path.stat()
        return "m" * (found.st_mtime_ns != old) + "c" * (found.st_ctime_ns != ctime)

    assert changed(path, lambda: path.write_text("y")) == "mc"
    assert changed(path, lambda: os.truncate(path, 0)) == "mc"
    assert changed(path, lambda: os.chmod(path, 0o600)) == "c"
    assert changed(path, lambda: os.chown(path, 0, 0)) == "c"
    assert changed(path, lambda: os.setxattr(path, "user.x", b"")) == "c"
    assert changed(path, lambda: (os.link(path, place / "l"), os.unlink(place / "l"))) == "c"
    assert changed(top, lambda: os.close(os.open(top / "new", os.O_CREAT | os.O_EXCL))) == "mc"
    assert changed(top, lambda: os.unlink(top / "new")) == "mc"
    assert changed(top, lambda: (top / "below").mkdir()) == "mc"
    assert changed(top, lambda: os.rename(top / "below", top / "b")) == "mc"


def test_reading_does_not_change_access_times(mounted: Mounted) -> None:
    """As with `mount -o noatime`: reading a tree must not make it differ from its score."""
    path = mounted.point / "read"
    path.write_text("x")
    os.utime(path, ns=(1_000, 2_000_000))
    assert path.read_text() == "x"
    os.utime(path, ns=(1_000, path.stat().st_mtime_ns))
    assert path.read_text() == "x"
    assert path.stat().st_atime_ns == 1_000
    path.unlink()


@pytest.mark.shim("birth times")
def test_birth_times(place: Path) -> None:
    path = place / "file"
    path.write_text("x")
    os.utime(path, (1, 1))
    said = subprocess.run(["stat", "-c", "%W", path], capture_output=True, check=True, text=True)
    assert abs(int(said.stdout) - time.time()) < 60


# extended attributes


def test_extended_attributes(place: Path) -> None:
    path = place / "file"
    path.write_text("x")
    os.setxattr(path, "user.a", b"1")
    os.setxattr(path, "user.empty", b"")
    os.setxattr(path, "trusted.b", b"2")
    assert sorted(os.listxattr(path)) == ["trusted.b", "user.a", "user.empty"]
    assert errno_of(lambda: os.setxattr(path, "user.a", b"2", os.XATTR_CREATE)) == "EEXIST"
    assert errno_of(lambda: os.setxattr(path, "user.c", b"2", os.XATTR_REPLACE)) == "ENODATA"
    os.setxattr(path, "user.a", b"22", os.XATTR_REPLACE)
    assert (os.getxattr(path, "user.a"), os.getxattr(path, "user.empty")) == (b"22", b"")
    os.removexattr(path, "user.empty")
    assert errno_of(lambda: os.removexattr(path, "user.empty")) == "ENODATA"
    assert errno_of(lambda: os.getxattr(path, "user.none")) == "ENODATA"
    os.symlink("file", place / "symlink")
    assert (
        errno_of(lambda: os.setxattr(place / "symlink", "user.a", b"", follow_symlinks=False))
        == "EPERM"
    )
    path.chmod(0o644)
    assert errno_of(lambda: as_user(lambda: os.setxattr(path, "user.a", b""))) == "EACCES"
    assert errno_of(lambda: as_user(lambda: os.setxattr(path, "trusted.a", b""))) == "EPERM"
    assert as_user(lambda: os.listxattr(path)) == ["user.a"]
    assert os.listxattr(place) == []


def test_extended_attributes_at_their_limits(mounted: Mounted) -> None:
    """A tmpfs has lower limits than Linux, a mount has Linux's."""
    path = mounted.point / "limits"
    path.write_text("x")
    large = os.urandom(64 << 10)
    os.setxattr(path, "user.large", large)
    assert os.getxattr(path, "user.large") == large
    assert errno_of(lambda: os.setxattr(path, "user.larger", large + b"x")) == "E2BIG"
    longest = "user." + "n" * 250
    os.setxattr(path, longest, b"x")
    assert errno_of(lambda: os.setxattr(path, longest + "n", b"x")) == "ERANGE"
    os.setxattr(path, "user.\udcff\n", b"bytes")
    assert os.getxattr(path, b"user.\xff\n") == b"bytes"
    score = mounted.machine.save(mounted.point)
    assert score
    assert os.getxattr(path, "user.large") == large
    assert os.getxattr(path, longest) == b"x"
    path.unlink()


def test_thousands_of_extended_attributes(mounted: Mounted) -> None:
    path = mounted.point / "many"
    path.write_text("x")
    opened = os.open(path, os.O_RDONLY)
    for number in range(10_000):
        os.setxattr(opened, f"user.{number}", b"%d" % number)
        if number == 4999:
            assert len(os.listxattr(opened)) == 5000
    # Linux lists no more than 64 KiB of names; each can still be had
    assert errno_of(lambda: os.listxattr(opened)) == "E2BIG"
    mounted.machine.save(mounted.point)
    assert all(os.getxattr(opened, f"user.{n}") == b"%d" % n for n in range(0, 10_000, 97))
    for number in range(0, 10_000, 2):
        os.removexattr(opened, f"user.{number}")
    assert len(os.listxattr(opened)) == 5000
    os.close(opened)
    path.unlink()


# ACLs


def getfacl(path: Path) -> list[str]:
    said = subprocess.run(
        ["getfacl", "-cnp", path], capture_output=True, check=True, text=True
    ).stdout
    return [line.split("\t")[0] for line in said.split("\n") if line]


def setfacl(*words: str | Path) -> None:
    subprocess.run(["setfacl", *words], check=True)


def test_access_acls(place: Path) -> None:
    path = place / "file"
    path.write_text("x")
    path.chmod(0o600)
    assert errno_of(lambda: as_user(path.read_text)) == "EACCES"
    setfacl("-m", f"u:{USER}:rw", path)
    assert as_user(path.read_text) == "x"
    assert mode(path) == 0o660  # the group bits are the mask now
    assert getfacl(path) == [
        "user::rw-",
        f"user:{USER}:rw-",
        "group::---",
        "mask::rw-",
        "other::---",
    ]
    os.chmod(path, 0o640)
    assert errno_of(lambda: as_user(lambda: path.write_text("y"))) == "EACCES"
    assert as_user(path.read_text) == "x"
    assert f"user:{USER}:rw-" in getfacl(path)
    assert "mask::r--" in getfacl(path)
    setfacl("-b", path)
    assert getfacl(path) == ["user::rw-", "group::---", "other::---"]
    assert mode(path) == 0o600
    assert os.listxattr(path) == []


def test_acls_of_groups_and_refusals(place: Path) -> None:
    path = place / "file"
    path.write_text("x")
    path.chmod(0o644)
    setfacl("-m", f"g:{OTHER}:-,u:{USER}:r", path)
    assert as_user(path.read_text, groups=(OTHER,)) == "x"  # the user's entry comes first
    assert errno_of(lambda: as_user(path.read_text, uid=1299, groups=(OTHER,))) == "EACCES"
    assert as_user(path.read_text, uid=1299) == "x"
    remove = ["setpriv", f"--reuid={USER}", "--clear-groups", "setfacl", "-b", path]
    assert subprocess.run(remove, check=False, capture_output=True).returncode != 0
    assert len(getfacl(path)) == 6
    before = getfacl(path)
    for bad in (b"\1\0\0\0", b"\2\0\0\0\0", b"\2\0\0\0" + b"\1\0\7\0\xff\xff\xff\xff"):
        error = errno_of(lambda bad=bad: os.setxattr(path, "system.posix_acl_access", bad))
        assert error in ("EINVAL", "ENOTSUP")
        assert getfacl(path) == before
    for _ in range(2):  # the second time there is nothing to remove
        os.setxattr(path, "system.posix_acl_access", b"")
        os.removexattr(path, "system.posix_acl_access")
        assert len(getfacl(path)) == 3


@pytest.mark.shim("way to leave the umask to default ACLs")
def test_default_acls_are_inherited(place: Path) -> None:
    top = place / "top"
    top.mkdir()
    top.chmod(0o755)
    setfacl("-d", "-m", f"u:{USER}:rwx,g::r-x,o::-", top)
    assert mode(top) == 0o755

    def made() -> None:
        os.umask(0o077)  # a default ACL counts instead of the umask
        (top / "file").write_text("x")
        (top / "dir").mkdir()
        os.close(os.open(top / "narrow", os.O_CREAT, 0o600))
        os.mkfifo(top / "fifo", 0o666)
        os.symlink("x", top / "symlink")

    as_user(made, uid=0, gid=0)
    assert getfacl(top / "file") == [
        "user::rw-",
        f"user:{USER}:rwx",
        "group::r-x",
        "mask::rw-",
        "other::---",
    ]
    assert mode(top / "file") == 0o660
    assert mode(top / "narrow") == 0o600
    assert "mask::---" in getfacl(top / "narrow")
    assert f"default:user:{USER}:rwx" in getfacl(top / "dir")
    assert "mask::rwx" in getfacl(top / "dir")
    assert mode(top / "dir") == 0o770
    assert mode(top / "fifo") == 0o660
    as_user(lambda: (top / "file").write_text("mine"))
    setfacl("-k", top)
    (top / "plain").write_text("x")
    assert len(getfacl(top / "plain")) == 3


def test_acls_are_saved(mounted: Mounted) -> None:
    machine = mounted.machine
    top = mounted.point / "acls"
    top.mkdir()
    (top / "file").write_text("x")
    setfacl("-m", f"u:{USER}:r,g:{OTHER}:w", top / "file")
    setfacl("-d", "-m", f"u:{USER}:rwx", top)
    score = machine.save(mounted.point)
    again = machine.point("again")
    machine.mount(score, again, "--allow-other")
    assert getfacl(again / "acls/file") == getfacl(top / "file")
    assert getfacl(again / "acls") == getfacl(top)
    assert as_user((again / "acls/file").read_text) == "x"
    (again / "acls/new").write_text("x")
    assert f"user:{USER}:rwx" in getfacl(again / "acls/new")
    machine.run("fossil-umount", again, "--discard")


# file handles


def test_file_handles(place: Path) -> None:
    """Good as long as the kernel knows the inode: who opens by handle keeps it known."""
    path = place / "file"
    path.write_text("text")
    with open(path):
        handle = name_to_handle(path)
        os.rename(path, place / "elsewhere")
        opened = open_by_handle(place, handle, os.O_RDONLY)
        assert os.pread(opened, 10, 0) == b"text"
        os.close(opened)
        other = name_to_handle(place)
        assert bytes(other.handle) != bytes(handle.handle)
