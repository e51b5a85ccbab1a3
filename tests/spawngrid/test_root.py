"""`grid root`: directories and archives become roots that can be spawned, and come back as they were."""

import json
import os
import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.commands import differences, run
from tests.spawngrid.environment.machine import busybox

GRID = Path(sysconfig.get_path("scripts")) / "grid"
pytestmark = [pytest.mark.fuse, pytest.mark.root]
ADDED = ["dev", "etc", *(f"etc/{n}" for n in ("hostname", "hosts", "machine-id", "resolv.conf"))]
ADDED += ["proc", "run", "srv", "sys"]


def grid(
    *words: str | Path, stdin: bytes = b"", status: int = 0
) -> "subprocess.CompletedProcess[bytes]":
    return run(GRID, *words, stdin=stdin, status=status)


def tree_of_all_kinds(tree: Path) -> Path:
    busybox(tree)
    (tree / "file").write_bytes(b"x" * 100_000)
    os.chown(tree / "file", 1234, 4321)
    os.chmod(tree / "file", 0o4750)
    os.link(tree / "file", tree / "hard")
    (tree / "dangling").symlink_to("/nowhere")
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", 0o020666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tree / "socket"))
    with open(tree / "holes", "wb") as file:
        file.truncate(10 << 20)
        file.seek(5 << 20)
        file.write(b"middle")
    os.setxattr(tree / "file", "user.note", b"kept")
    (tree / "näme\n").write_text("")
    return tree


def added(tree: Path, back: Path) -> list[str]:
    """Return what importing added, which must be all that differs."""
    found = []
    for name in ADDED:
        if not (tree / name).exists():
            found.append(name)
            path = back / name
            assert not path.is_file() or path.stat().st_size == 0
    for name in reversed(found):
        shutil.rmtree(back / name) if (back / name).is_dir() else (back / name).unlink()
    shutil.copystat(tree, back)
    assert differences(tree, back) == []
    return found


def test_a_directory_there_and_back(home: Path, tmp_path: Path) -> None:
    tree = tree_of_all_kinds(tmp_path / "tree")
    told = json.loads(grid("root", "import", tree, "--name", "mine", "--json").stdout)
    assert told["name"] == "mine"
    grid("root", "export", "mine", tmp_path / "back")
    assert added(tree, tmp_path / "back") == ADDED
    shutil.rmtree(tmp_path / "back")
    grid("root", "export", told["score"], tmp_path / "back")
    again = [grid("root", "import", tmp_path / "back").stdout for _ in range(2)]
    assert again[0] == again[1], "what has all it needs is not changed"


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_an_archive_there_and_back(home: Path, tmp_path: Path, ending: str) -> None:
    tree = tree_of_all_kinds(tmp_path / "tree")
    (tree / "socket").unlink()  # tar has none
    score = grid("root", "import", tree).stdout.decode().strip()
    archive = tmp_path / f"root.{ending}"
    grid("root", "export", score, archive)
    again = grid("root", "import", archive).stdout.decode().strip()
    grid("root", "export", again, tmp_path / "back")
    added(tree, tmp_path / "back")
    assert list((home / "state/spawngrid").iterdir()) == []


def test_an_archive_through_a_pipe(home: Path, tmp_path: Path) -> None:
    busybox(tmp_path / "tree")
    score = grid("root", "import", tmp_path / "tree").stdout.decode().strip()
    stream = grid("root", "export", score, "-").stdout
    again = grid("root", "import", "-", stdin=stream).stdout.decode().strip()
    grid("root", "export", again, tmp_path / "back")
    assert added(tmp_path / "tree", tmp_path / "back") == ADDED


def test_what_is_no_root(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert b"no /bin/sh" in grid("root", "import", tmp_path / "empty", status=1).stderr
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 99)
    assert b"failed with status" in grid("root", "import", tmp_path / "bad.tar", status=1).stderr
    assert list((home / "state/spawngrid").iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_a_store_that_is_not_there_is_told_first(home: Path, tmp_path: Path) -> None:
    """Before minutes are spent on what then cannot be stored."""
    (tmp_path / "bin").mkdir()
    debootstrap = tmp_path / "bin/debootstrap"
    debootstrap.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\n")
    debootstrap.chmod(0o755)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        done = grid("root", "import", "--debootstrap", "x", "--store", tmp_path / "none", status=6)
    assert done.stderr.startswith(f"grid: {tmp_path}/none: no store here".encode())
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "begun").exists()
    (tmp_path / "bad.tar").write_bytes(b"")
    grid("root", "import", tmp_path / "bad.tar", "--store", tmp_path / "none", status=6)
