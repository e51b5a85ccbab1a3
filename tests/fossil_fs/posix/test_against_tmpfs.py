"""The same operations on a mount and on a tmpfs, in any order: the same answers, the same trees.

Saves, unmounting and resuming, kills and remounting of the saved score come between them. What a save
does not keep (atime, link counts of directories) is compared only until one of these happens.
"""

import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fossil_fs.posix.anyone import Mounted
from tests.fossil_fs.posix.calls import (
    KEEP_SIZE,
    PUNCH_HOLE,
    STOCK_ENGINE,
    fallocate,
    renameat2,
)
from tests.fossil_fs.posix.pair import Pair

pytestmark = [pytest.mark.fuse, pytest.mark.root]

names = [b"a", b"b", b"c"]
odd_names = [b"\xff", b"long" * 63]
paths = st.sampled_from(
    names * 2
    + [one + b"/" + two for one in names for two in names] * 2
    + [b"/".join((one, two, three)) for one in names[:2] for two in names[:2] for three in names]
    + odd_names
    + [b"a/" + name for name in odd_names]
)
modes = st.sampled_from([0o644, 0o755, 0o600, 0o777, 0o2755, 0o4755, 0o1777, 0o2777, 0o000])
owners = st.sampled_from([0, 1201, 1299])
sizes = st.sampled_from(
    [0, 1, 10, 4095, 4096, 4097, 65535, 65536, 65537, 131_072, 200_001, 1_000_000]
)
lengths = st.sampled_from([0, 1, 100, 4096, 65536, 70_000, 300_000])
fills = st.integers(1, 255)
users = st.sampled_from([False, False, False, True])
flags = st.sampled_from(
    [
        os.O_RDWR,
        os.O_RDWR | os.O_CREAT,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_RDWR | os.O_TRUNC,
        os.O_RDWR | os.O_CREAT | os.O_APPEND,
        os.O_RDONLY,
        os.O_RDONLY | os.O_NOFOLLOW,
    ]
)


def acl(permissions: int) -> bytes:
    """Return an ACL that says something of another user, too."""
    entries = [(1, 7, -1), (2, permissions, 1201), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
    return b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little")
        + may.to_bytes(2, "little")
        + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, may, who in entries
    )


attributes = st.sampled_from(
    [
        ("user.a", b"value"),
        ("user.b", b"x" * 2000),
        ("trusted.c", b""),
        ("system.posix_acl_access", acl(7)),
        ("system.posix_acl_default", acl(5)),
    ]
)


def content(descriptor: int) -> bytes:
    return os.pread(descriptor, 1 << 21, 0)


def write_file(path: bytes, data: bytes) -> None:
    """Write a file anew; a FIFO is not waited for."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o666)
    with open(descriptor, "wb") as file:
        file.write(data)


class AgainstTmpfs(RuleBasedStateMachine):
    """Rules that do one thing each; `pair` compares."""

    pair: ClassVar[Pair]

    @initialize()
    def begin(self) -> None:
        """Something to begin with: else most calls would find nothing."""
        self.pair.begin()
        for directory in (b"a", b"b", b"a/a", b"a/b"):
            self.mkdir(directory, 0o777, ordinary=False)
            self.chmod(directory, 0o777, ordinary=False)
        for file, size in ((b"c", 200_001), (b"a/c", 100), (b"a/a/c", 65_537)):
            self.put(file, 7, size, ordinary=False)
        self.link(b"a/c", b"b/c", ordinary=False)

    def teardown(self) -> None:
        try:
            if self.pair.is_mounted():  # else what took it away has said why
                self.pair.compare()
        finally:
            self.pair.end()

    def at(self, call: Callable[[bytes], object], path: bytes, *, ordinary: bool = False) -> None:
        self.pair.both(lambda top: call(os.path.join(top, path)), ordinary=ordinary)

    # names

    @rule(path=paths, mode=modes, ordinary=users)
    def mkdir(self, path: bytes, mode: int, ordinary: bool) -> None:
        self.at(lambda p: os.mkdir(p, mode), path, ordinary=ordinary)

    @rule(path=paths, fill=fills, size=sizes, ordinary=users)
    def put(self, path: bytes, fill: int, size: int, ordinary: bool) -> None:
        self.at(lambda p: write_file(p, bytes([fill]) * size), path, ordinary=ordinary)

    @rule(path=paths, ordinary=users)
    def unlink(self, path: bytes, ordinary: bool) -> None:
        self.at(os.unlink, path, ordinary=ordinary)

    @rule(path=paths, ordinary=users)
    def rmdir(self, path: bytes, ordinary: bool) -> None:
        self.at(os.rmdir, path, ordinary=ordinary)

    @rule(old=paths, new=paths, how=st.sampled_from([0, 0, 0, 1, 2]), ordinary=users)
    def rename(self, old: bytes, new: bytes, how: int, ordinary: bool) -> None:
        self.pair.both(
            lambda top: renameat2(
                Path(os.fsdecode(os.path.join(top, old))),
                Path(os.fsdecode(os.path.join(top, new))),
                how,
            ),
            ordinary=ordinary,
        )

    @rule(old=paths, new=paths, ordinary=users)
    def link(self, old: bytes, new: bytes, ordinary: bool) -> None:
        self.pair.both(
            lambda top: os.link(
                os.path.join(top, old), os.path.join(top, new), follow_symlinks=False
            ),
            ordinary=ordinary,
        )

    @rule(path=paths, to=paths)
    def symlink(self, path: bytes, to: bytes) -> None:
        self.at(lambda p: os.symlink(to, p), path)

    @rule(path=paths, kind=st.sampled_from([stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK]), mode=modes)
    def mknod(self, path: bytes, kind: int, mode: int) -> None:
        device = os.makedev(1, 3) if kind == stat.S_IFCHR else 0
        self.at(lambda p: os.mknod(p, kind | mode, device), path)

    # attributes

    @rule(path=paths, mode=modes, ordinary=users)
    def chmod(self, path: bytes, mode: int, ordinary: bool) -> None:
        self.at(lambda p: os.chmod(p, mode), path, ordinary=ordinary)

    @rule(path=paths, uid=owners, gid=owners, ordinary=users)
    def chown(self, path: bytes, uid: int, gid: int, ordinary: bool) -> None:
        self.at(lambda p: os.chown(p, uid, gid, follow_symlinks=False), path, ordinary=ordinary)

    @rule(path=paths, seconds=st.integers(-(10**9), 10**9), ordinary=users)
    def utime(self, path: bytes, seconds: int, ordinary: bool) -> None:
        times = (seconds * 10**9 + 1, seconds * 10**9 + 999_999_999)
        self.at(lambda p: os.utime(p, ns=times, follow_symlinks=False), path, ordinary=ordinary)

    @rule(path=paths, attribute=attributes, how=st.sampled_from([0, 0, 1, 2]), ordinary=users)
    def set_attribute(
        self, path: bytes, attribute: tuple[str, bytes], how: int, ordinary: bool
    ) -> None:
        name, value = attribute
        self.at(lambda p: os.setxattr(p, name, value, how), path, ordinary=ordinary)

    @rule(path=paths, attribute=attributes, ordinary=users)
    def remove_attribute(self, path: bytes, attribute: tuple[str, bytes], ordinary: bool) -> None:
        self.at(lambda p: os.removexattr(p, attribute[0]), path, ordinary=ordinary)

    @rule(path=paths, ordinary=users)
    def look(self, path: bytes, ordinary: bool) -> None:
        self.at(lambda p: sorted(os.listdir(p)), path, ordinary=ordinary)
        self.at(lambda p: os.stat(p).st_mode, path, ordinary=ordinary)
        self.at(lambda p: sorted(os.listxattr(p)), path, ordinary=ordinary)

    @rule(path=paths, size=sizes, ordinary=users)
    def truncate(self, path: bytes, size: int, ordinary: bool) -> None:
        self.at(lambda p: os.truncate(p, size), path, ordinary=ordinary)

    # open files

    @rule(path=paths, how=flags, mode=modes, ordinary=users)
    def open(self, path: bytes, how: int, mode: int, ordinary: bool) -> None:
        self.pair.open(path, how | os.O_NONBLOCK, mode, ordinary=ordinary)

    has_open = precondition(lambda self: bool(self.pair.opened))
    which = st.integers(0, 3)

    @has_open
    @rule(which=which)
    def close(self, which: int) -> None:
        self.pair.close(which % len(self.pair.opened))

    @has_open
    @rule(which=which, fill=fills, offset=sizes, length=lengths)
    def write(self, which: int, fill: int, offset: int, length: int) -> None:
        data = bytes([fill]) * length
        self.pair.with_open(which, lambda d: _is_file(d) and os.pwrite(d, data, offset))

    @has_open
    @rule(which=which)
    def read(self, which: int) -> None:
        self.pair.with_open(which, lambda d: _is_file(d) and content(d))
        self.pair.with_open(which, lambda d: (os.fstat(d).st_mode, _links(d)))

    @has_open
    @rule(which=which, size=sizes)
    def cut(self, which: int, size: int) -> None:
        self.pair.with_open(which, lambda d: os.ftruncate(d, size))

    @has_open
    @precondition(lambda _: not STOCK_ENGINE)  # it has no fallocate
    @rule(
        which=which, how=st.sampled_from([0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE]), at=sizes, n=sizes
    )
    def allocate(self, which: int, how: int, at: int, n: int) -> None:
        self.pair.with_open(which, lambda d: _is_file(d) and fallocate(d, how, at, n))

    @has_open
    @rule(which=which, other=which, at=sizes, to=sizes, n=lengths)
    def copy(self, which: int, other: int, at: int, to: int, n: int) -> None:
        sources, targets = (
            self.pair.opened[number % len(self.pair.opened)] for number in (which, other)
        )
        there = dict(zip(sources, targets, strict=True))
        self.pair.with_open(
            which,
            lambda d: (
                _is_file(d) and _is_file(there[d]) and os.copy_file_range(d, there[d], n, at, to)
            ),
        )

    @has_open
    @precondition(lambda _: not STOCK_ENGINE)  # a close writes out what is mapped: other times
    @rule(which=which, fill=fills, at=sizes)
    def write_mapped(self, which: int, fill: int, at: int) -> None:
        def call(descriptor: int) -> object:
            size = os.fstat(descriptor).st_size
            if not _is_file(descriptor) or size == 0:
                return None
            with mmap.mmap(descriptor, size) as area:
                start = at % size
                area[start : start + 100] = bytes([fill]) * len(area[start : start + 100])
            os.utime(
                descriptor
            )  # a tmpfs leaves mtime alone; where the kernel writes back, it is now
            return content(descriptor)

        self.pair.with_open(which, call)

    @has_open
    @rule(which=which)
    def fsync(self, which: int) -> None:
        self.pair.with_open(which, lambda d: _is_file(d) and os.fsync(d))

    # the life of the mount: dear, so not as often as the rest

    @rule(
        what=st.sampled_from(
            ["", "", "compare", "caches", "save_twice", "resume", "remount", "kill"]
        )
    )
    def live(self, what: str) -> None:
        if what == "caches":
            self.pair.drop_caches()
        elif what in ("save_twice", "resume", "remount", "kill"):
            getattr(self.pair, what)()
        if what:
            self.pair.compare()


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _links(descriptor: int) -> int:
    """Return the number of names; of a directory nothing is said here."""
    said = os.fstat(descriptor)
    return 0 if stat.S_ISDIR(said.st_mode) else said.st_nlink


def run(pair: Pair, examples: int, steps: int, *phases: Phase) -> None:
    AgainstTmpfs.pair = pair
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        AgainstTmpfs,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=phases,
        ),
    )


def test_quick(mounted: Mounted, tmpfs: Path) -> None:
    run(Pair(mounted, tmpfs), 15, 40, Phase.generate)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_long(pair: Pair) -> None:
    run(pair, 200, 80, Phase.generate, Phase.shrink)
