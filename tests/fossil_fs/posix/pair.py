"""A tmpfs and a mount side by side: everything is done to both, and both must answer the same."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fossil_fs.mounting.registry import is_alive
from lib9.fuse import mounts
from lib9.fuse.errors import NotMounted
from tests.fossil_fs.cli.mounts import SECONDS_MAX, wait_until
from tests.fossil_fs.posix.anyone import Mounted
from tests.fossil_fs.posix.calls import GROUP, USER, errno_of
from tests.kit.mounts import namespaces_with

RECENT_NS = 1_500_000_000 * 10**9  # times from here on are of this run, and differ between both
Facts = dict[bytes, tuple[object, ...]]


def answer(call: Callable[[], object]) -> object:
    """Return what a call returns, or the name of its error."""
    found: list[object] = []
    error = errno_of(lambda: found.append(call()))
    return error or found[0]


@contextmanager
def user(ordinary: bool) -> Iterator[None]:
    """Be an ordinary user for a while."""
    if not ordinary:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(GROUP)
    os.seteuid(USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _time(nanoseconds: int) -> int:
    return min(nanoseconds, RECENT_NS)


def facts(top: bytes, *, fresh: bool) -> Facts:
    """Return all there is to know of a tree, by path; inode numbers as the first path that has each.

    `fresh`: also what a save does not keep.
    """
    found: Facts = {}
    first: dict[int, bytes] = {}
    stack = [b""]
    while stack:
        path = stack.pop()
        full = os.path.join(top, path) if path else top
        said = os.lstat(full)
        content: object = None
        if stat.S_ISDIR(said.st_mode):
            names = sorted(os.listdir(full), reverse=True)
            stack += [os.path.join(path, name) for name in names]
            content = names
        elif stat.S_ISLNK(said.st_mode):
            content = os.readlink(full)
        elif stat.S_ISREG(said.st_mode):
            content = Path(os.fsdecode(full)).read_bytes()
        kept_only_here = (said.st_nlink, _time(said.st_atime_ns)) if fresh else ()
        is_dir = stat.S_ISDIR(said.st_mode)
        found[path] = (
            said.st_mode,
            said.st_uid,
            said.st_gid,
            said.st_rdev,
            0 if is_dir else said.st_nlink,
            0 if is_dir else said.st_size,
            _time(said.st_mtime_ns),
            first.setdefault(said.st_ino, path),
            sorted(
                (name, os.getxattr(full, name, follow_symlinks=False))
                for name in os.listxattr(full, follow_symlinks=False)
            ),
            content,
            kept_only_here,
        )
    return found


def numbers(top: bytes) -> dict[bytes, int]:
    """Return the inode number of every path below `top`."""
    found = {}
    for path, directories, files in os.walk(top):
        for name in directories + files:
            full = os.path.join(path, name)
            found[full] = os.lstat(full).st_ino
    return found


class Pair:
    """The two places, and what a mount goes through in its life."""

    def __init__(self, mounted: Mounted, tmpfs: Path) -> None:
        self.mounted = mounted
        self.tmpfs = tmpfs
        self.fresh = True
        self._count = 0

    def begin(self) -> None:
        """Make a new empty directory in both, on a mount of its own if the last one failed."""
        if not self.is_mounted():
            self._start_over()
        self._count += 1
        self.tops = [
            os.fsencode(top / f"example{self._count}") for top in (self.tmpfs, self.mounted.point)
        ]
        for top in self.tops:
            os.mkdir(top)
            os.chmod(top, 0o777)
        self.opened: list[list[int]] = []
        self.fresh = True

    def is_mounted(self) -> bool:
        return os.path.ismount(self.mounted.point)

    def end(self) -> None:
        self.close_all()
        for top in self.tops if self.is_mounted() else self.tops[:1]:
            shutil.rmtree(top)

    def both(self, call: Callable[[bytes], object], *, ordinary: bool = False) -> object:
        """Call with each place's directory; the answers must be the same."""
        with user(ordinary):
            one, two = (answer(lambda top=top: call(top)) for top in self.tops)  # type: ignore[misc]
        assert two == one, f"the mount says {two!r:.300}, the tmpfs {one!r:.300}"
        return one

    def open(self, path: bytes, flags: int, mode: int, *, ordinary: bool) -> None:
        found: list[int] = []

        def call(top: bytes) -> str:
            found.append(os.open(os.path.join(top, path), flags, mode))
            return "opened"

        try:
            self.both(call, ordinary=ordinary)
        finally:
            if len(found) == 2:
                self.opened.append(found)
            else:
                for descriptor in found:
                    os.close(descriptor)
        if len(self.opened) > 4:
            self.close(0)

    def close(self, number: int) -> None:
        for descriptor in self.opened.pop(number):
            os.close(descriptor)

    def close_all(self) -> None:
        while self.opened:
            self.close(0)

    def with_open(self, number: int, call: Callable[[int], Any]) -> None:
        """Call with one of the open files of each place."""
        descriptors = self.opened[number % len(self.opened)]
        one, two = (answer(lambda d=d: call(d)) for d in descriptors)  # type: ignore[misc]
        assert two == one, f"the mount says {two!r:.300}, the tmpfs {one!r:.300}"

    def compare(self) -> None:
        one, two = (facts(top, fresh=self.fresh) for top in self.tops)
        differing = [path for path in one.keys() | two.keys() if one.get(path) != two.get(path)]
        for path in differing:
            raise AssertionError(
                f"{path!r}: tmpfs {one.get(path)!r:.600}\nmount {two.get(path)!r:.600}"
            )

    def compare_contents(self) -> None:
        """Compare names and bytes of files only."""
        subprocess.run(["diff", "-r", "--no-dereference", *self.tops], check=True)

    def _start_over(self) -> None:
        machine, point = self.mounted.machine, self.mounted.point
        machine.clean_up()
        for scratch in machine.scratches():
            shutil.rmtree(scratch)
        machine.mount(machine.root, point, *self.mounted.options)
        point.chmod(0o777)

    # the life of a mount

    def save(self) -> None:
        self.score = self.mounted.machine.save(self.mounted.point)
        self.fresh = False

    def save_twice(self) -> None:
        """Nothing changed since the last save: the same score."""
        self.save()
        before = self.score
        self.save()
        assert self.score == before

    def drop_caches(self) -> None:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("2")

    def _again(self, end: Callable[[], None], *start: str) -> None:
        """End the mount and start it again: it has the same names, files and inode numbers."""
        self.close_all()
        top = self.tops[1]
        before = numbers(top)
        end()
        self.mounted.machine.run(*start, self.mounted.point, *self.mounted.options)
        assert numbers(top) == before

    def _scratch(self) -> str:
        (found,) = self.mounted.machine.scratches()
        return found.name

    def _umount(self) -> None:
        machine, point = self.mounted.machine, self.mounted.point
        daemon = machine.pid(point)
        mount = mounts.mount_of(os.fsencode(point))
        if namespaces_with(mount) > 1:  # it lives on there, and so does what was not yet written
            subprocess.run(["sync", "--file-system", point], check=True)
        subprocess.run(["umount", point], check=True)
        wait_until(lambda: not is_alive(daemon) or namespaces_with(mount), SECONDS_MAX)
        if namespaces_with(mount):
            with suppress(NotMounted):
                mounts.abort(mount.minor)
        wait_until(lambda: not is_alive(daemon), SECONDS_MAX)

    def resume(self) -> None:
        """Unmount, and resume the scratch; a mount without changes leaves none: begin one."""
        os.utime(self.mounted.point)
        self._again(self._umount, "fossil-scratch", "resume", self._scratch())

    def kill(self) -> None:
        os.utime(self.mounted.point)
        scratch = self._scratch()
        self._again(
            lambda: self.mounted.machine.kill(self.mounted.point),
            "fossil-scratch",
            "resume",
            scratch,
        )

    def remount(self) -> None:
        """Save, and mount the score with a scratch of its own."""
        self.save()
        self._again(self._umount, "fossil-mount", self.score)
