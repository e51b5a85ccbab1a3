"""A directory becomes a score, and the score the same directory again."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands import differences, mounted, run, vac

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def _round_trip(source: Path, tmp_path: Path) -> None:
    score = vac(source)
    with mounted(score, tmp_path / "mnt", "--ro") as mnt:
        assert differences(source, mnt) == []
        assert vac(mnt) == score
    target = tmp_path / "unvac"
    run("unvac", score, target, seconds=300)
    assert differences(source, target) == []


def test_a_real_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    _round_trip(Path("/usr/share/doc"), tmp_path)


@pytest.mark.long
def test_all_of_usr_share_comes_back_as_it_was(tmp_path: Path) -> None:
    _round_trip(Path("/usr/share"), tmp_path)


def test_every_kind_of_file_comes_back_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_every_kind_of_file(source)
    _round_trip(source, tmp_path)


def make_every_kind_of_file(top: Path) -> None:
    """One of each: what Linux has, owners and modes, odd names, holes, extended attributes."""
    import socket

    (top / "sub" / "deeper").mkdir(parents=True)
    (top / "empty").touch()
    (top / "small").write_bytes(b"hello\n")
    (top / "big").write_bytes(os.urandom(300_000))
    (top / "zeros").write_bytes(bytes(1 << 20))
    with (top / "sparse").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(64 << 20)
    os.link(top / "small", top / "sub" / "hard link")
    os.link(top / "small", top / "sub" / "deeper" / "another")
    os.symlink("../small", top / "sub" / "symlink")
    os.symlink("/nowhere" + "/x" * 1500, top / "long symlink")
    os.mkfifo(top / "fifo")
    os.link(top / "fifo", top / "fifo's other name")
    os.mknod(top / "null", 0o020666, os.makedev(1, 3))
    os.mknod(top / "block", 0o060660, os.makedev(259, 70000))
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(top)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    names = [
        b"not \xff\xfe utf-8",
        "ünïcödé ✓".encode(),
        b"new\nline",
        b"-dash",
        b"n" * 255,
        b" space ",
        b"\x01",
    ]
    for name in names:
        (top / os.fsdecode(name)).write_bytes(name)
    for mode in (0o4755, 0o2755, 0o1777, 0o0000, 0o7777):
        path = top / f"mode {mode:o}"
        path.write_bytes(b"")
        os.chown(path, 1234567, 7654321)
        path.chmod(mode)
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o3777)
    os.setxattr(top / "small", "user.colour", b"blue")
    os.setxattr(top / "big", "user.large", os.urandom(3000))
    os.setxattr(top / "big", "trusted.of root", b"\x00\x01")
    os.setxattr(top / "sub", "user.of a directory", b"")
    subprocess.run(["setfacl", "-m", "u:12345:rwx,g:99:r", str(top / "small")], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:12345:rx", str(top / "sub")], check=True)
    for number, (folder, folders, files) in enumerate(os.walk(os.fsencode(top), topdown=False)):
        for name in [*files, *folders]:
            stamp = 1_234_567_890_123_456_789 + number * 1_000_000_007 + len(name)
            os.utime(os.path.join(folder, name), ns=(stamp, stamp), follow_symlinks=False)
    os.utime(top, ns=(0, 999_999_999))
