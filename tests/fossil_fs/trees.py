"""Trees on the host for the tests of vac and unvac: made with every kind of file, and compared."""

import hashlib
import os
import random
import socket
import stat
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any

from fossil_fs.ingest.archive import Outcome, archive
from fossil_fs.ingest.options import Options, default_dsize
from fossil_fs.ingest.report import Report
from fossil_fs.ingest.scan import STAMP_LAG_NS
from fossil_fs.restore import report as restore_report
from fossil_fs.restore.restore import restore
from fossil_fs.snapshot import open_snapshot
from lib9.waiting import run_now
from venti_store.interfaces import BlockStore
from venti_store.score import Score

SCRIPTS = Path(sysconfig.get_path("scripts"))
# what root may do and others not is what capabilities allow; without them root is a user like others
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
ACL = bytes.fromhex(  # user::rw-, user:1234:rwx, group::r--, mask::rwx, other::r--
    "02000000" "01000600ffffffff" "02000700d2040000" "04000400ffffffff" "10000700ffffffff"
    "20000400ffffffff"
)  # fmt: skip


def vac_tree(store: BlockStore, *paths: Path, readers: int = 0, **options: Any) -> Outcome:
    """Archive paths; a trouble fails the test."""

    def fail(path: bytes, why: str) -> None:
        raise AssertionError(f"{path!r}: {why}")

    chosen = Options(**{"dsize": default_dsize(store.family), "readers": readers, **options})
    return archive(store, [os.fsencode(p) for p in paths], chosen, Report(on_trouble=fail))


def unvac_tree(
    store: BlockStore, score: Score, target: Path, *paths: bytes, **options: Any
) -> restore_report.Report:
    """Restore a tree; what went wrong is in the report."""
    snapshot = run_now(open_snapshot(store, score))
    return run_now(restore(snapshot, os.fsencode(target), paths, **options))


def run(*command: str | Path, check: bool = True, **rest: Any) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands, or another program."""
    path = f"{SCRIPTS}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
        **rest,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def listing(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """Return all that an archive keeps of a tree, by path; hard links as the first of their names."""
    found: dict[bytes, tuple[Any, ...]] = {}
    firsts: dict[tuple[int, int], bytes] = {}
    base = os.fsencode(top)
    paths = [b"."]
    for folder, directories, files in os.walk(base):
        directories.sort()
        paths += [os.path.relpath(os.path.join(folder, n), base) for n in directories + files]
    for path in sorted(paths):
        full = os.path.join(base, path)
        state = os.lstat(full)
        first = path
        if not stat.S_ISDIR(state.st_mode):
            first = firsts.setdefault((state.st_dev, state.st_ino), path)
        found[path] = (
            stat.filemode(state.st_mode),
            state.st_uid,
            state.st_gid,
            state.st_mtime_ns,
            state.st_rdev,
            _content(full, state),
            _xattrs(full),
            first,
        )
    return found


def _content(path: bytes, state: os.stat_result) -> tuple[int, bytes] | None:
    if stat.S_ISLNK(state.st_mode):
        return 0, os.readlink(path)
    if not stat.S_ISREG(state.st_mode):
        return None
    with open(path, "rb") as file:
        return state.st_size, hashlib.file_digest(file, "sha256").digest()


def _xattrs(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def make_zoo(top: Path, *, privileged: bool = False) -> None:
    """Make a tree with every kind of file, names and sizes of every sort, in it."""
    noise = random.Random(1)
    top.mkdir()
    for size in (0, 1, 100, 65535, 65536, 65537, 300_000):
        (top / f"size-{size}").write_bytes(noise.randbytes(size))
    (top / "zeros").write_bytes(bytes(200_000))
    (top / "ends-in-zeros").write_bytes(b"x" + bytes(70_000))
    with open(top / "sparse", "wb") as file:
        os.truncate(file.fileno(), 50 << 20)
        for offset in (0, 10_000_000, 30 << 20, (50 << 20) - 3):
            os.pwrite(file.fileno(), b"abc", offset)
    (top / "empty-directory").mkdir(mode=0o750)
    deep = top / "deep"
    for level in range(20):
        deep = deep / f"level-{level}"
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("here")
    os.mkdir(os.fsencode(top) + b"/not-\xff-utf8\n")
    Path(os.fsdecode(os.fsencode(top) + b"/not-\xff-utf8\n/\x01\x80")).write_text("odd")
    (top / ("n" * 255)).write_text("longest")
    _make_links(top)
    os.mkfifo(top / "fifo", 0o620)
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(top, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2711), ("unwritable", 0o400)):
        (top / name).write_text(name)
        (top / name).chmod(mode)
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o1777)
    for name, value in (("user.small", b"\0\1"), ("user.empty", b""), ("user.large", b"v" * 3000)):
        os.setxattr(top / "size-100", name, value)
        os.setxattr(top / "deep", name, value)
    os.setxattr(top / "size-1", "user.one", b"1")
    if privileged:
        _make_privileged(top)
    times = (0, 1, 1_700_000_000_123_456_789, -1_500_000_000, 5_000_000_000_000_000_001)
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        mtime = times[number % len(times)]
        os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
    os.utime(top, ns=(7, 7))


def _make_links(top: Path) -> None:
    (top / "symlink").symlink_to("size-1")
    (top / "dangling").symlink_to(b"\xff/nowhere/" + b"x" * 1000)
    (top / "to-directory").symlink_to("deep")
    os.link(top / "size-65537", top / "deep" / "second-name")
    os.link(top / "size-65537", top / "a-first-name")
    os.link(top / "symlink", top / "symlink-again", follow_symlinks=False)
    (top / "alone").write_text("its other name is outside")
    if not (top.parent / "outside").exists():
        os.link(top / "alone", top.parent / "outside")


def _make_privileged(top: Path) -> None:
    os.mknod(top / "char", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.mknod(top / "block", stat.S_IFBLK | 0o600, os.makedev(250, 70_000))
    os.chown(top / "size-100", 4_000_000_000, 123_456)
    os.chown(top / "symlink", 12, 34, follow_symlinks=False)
    os.chown(top / "deep", 1, 2)
    os.chown(top / "setuid", 1000, 1000)
    (top / "setuid").chmod(0o6755)
    os.setxattr(top / "size-1", "trusted.secret", b"t")
    os.setxattr(top / "symlink", "trusted.link", b"l", follow_symlinks=False)
    os.setxattr(top / "fifo", "trusted.fifo", b"f")
    os.setxattr(
        top / "setgid", "security.capability", bytes.fromhex("0000000200040000") + bytes(12)
    )
    os.setxattr(top / "size-65536", "system.posix_acl_access", ACL)
    os.setxattr(top / "empty-directory", "system.posix_acl_default", ACL)
    os.setxattr(top / "empty-directory", "system.posix_acl_access", ACL)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree with rsync, all it can keep."""
    subprocess.run(["rsync", "-aHAX", f"{source}/", f"{target}/"], check=True)


def differs(one: Path, other: Path) -> list[str]:
    """Return the paths that are not the same in two trees, with what differs."""
    a, b = listing(one), listing(other)
    paths = sorted(a.keys() | b.keys())
    return [f"{p!r}: {a.get(p)} != {b.get(p)}" for p in paths if a.get(p) != b.get(p)]


def next_tick(folder: Path) -> None:
    """Wait until what was touched before is old enough to be told from what is touched later."""
    probe = folder / "clock"
    probe.write_text("")
    before = probe.stat().st_ctime_ns
    deadline = time.monotonic() + 10
    while probe.stat().st_ctime_ns <= before + 2 * STAMP_LAG_NS:
        assert time.monotonic() < deadline, "the clock of the file system stands still"
        probe.chmod(0o600)
    probe.unlink()
