"""The same operations here and on the machine's own file system: same results, errnos and trees.

Saves, dropped caches, kills, resumes and mounts elsewhere are mixed in.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lib9.fuse.interface import Changes
from lib9.waiting import run_now
from tests.fossil_fs.drive import ME, Driver, empty_root, new_scratch, seen
from venti_store.stores.memory import MemoryStore

UNIT = 64 << 10
NAMES = ["a", "b", "c"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
offsets = st.one_of(
    st.integers(0, 200),
    st.sampled_from([UNIT - 1, UNIT, UNIT + 1, 2 * UNIT, 3 * UNIT + 7]),
    st.integers(0, 5 * UNIT),
)
lengths = st.one_of(st.integers(1, 100), st.sampled_from([4096, UNIT, 2 * UNIT, 2 * UNIT + 1]))


class Both(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="fossil-model-"))
        self.model = self.place / "model"
        self.model.mkdir()
        self.store = MemoryStore()
        self.scratch = new_scratch(self.place, self.store, run_now(empty_root(self.store)))
        self.fs = run_now(Driver.open(self.store, self.scratch))
        self.turn = 0
        self.snapshots: dict[int, dict[str, tuple[object, ...]]] = {}  # what each must show

    def teardown(self) -> None:
        if self.snapshots:
            self.look_back()
            for number in self.snapshots:
                self.fs.fs.snapshots.drop(number)
            while run_now(self.fs.fs.snapshots.tidy()):
                pass
            self.fs.drop_caches()
            run_now(self.fs.save())
            scratch = self.fs.fs.overlay.scratch
            assert [key for key, _ in scratch.scan(b"") if key[:1] in b"hepidcxl"] == []
            assert scratch.files.numbers() == []
        self.fs.kill()
        shutil.rmtree(self.place)

    def both(self, real: Callable[[], Any], ours: Coroutine[Any, Any, Any], *used: str) -> None:
        if not all(map(self._has_no_links_above, used)):
            ours.close()  # our driver does not follow links
            return
        expected = got = 0
        try:
            real()
        except OSError as error:
            expected = error.errno or -1
        try:
            run_now(ours)
        except OSError as error:
            got = error.errno or -1
        assert os.strerror(got) == os.strerror(expected)

    def real(self, path: str) -> Path:
        return self.model / path

    def is_file(self, path: str) -> bool:
        found = self.real(path)
        return found.is_file() and not found.is_symlink() and self._has_no_links_above(path)

    def _has_no_links_above(self, path: str) -> bool:
        return not any((self.model / p).is_symlink() for p in Path(path).parents)

    @rule(path=paths)
    def mkdir(self, path: str) -> None:
        self.both(lambda: self.real(path).mkdir(), self.fs.mkdir(path), path)

    @rule(path=paths)
    def create(self, path: str) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        self.both(
            lambda: os.close(os.open(self.real(path), flags, 0o644)), self.fs.create(path), path
        )

    @rule(path=paths)
    def symlink(self, path: str) -> None:
        self.both(lambda: os.symlink("none", self.real(path)), self.fs.symlink(path, b"none"), path)

    @rule(old=paths, new=paths)
    def link(self, old: str, new: str) -> None:
        def real() -> None:
            os.link(self.real(old), self.real(new), follow_symlinks=False)

        self.both(real, self.fs.link(old, new), old, new)

    @rule(path=paths)
    def unlink(self, path: str) -> None:
        self.both(lambda: os.unlink(self.real(path)), self.fs.unlink(path), path)

    @rule(path=paths)
    def rmdir(self, path: str) -> None:
        self.both(lambda: self.real(path).rmdir(), self.fs.rmdir(path), path)

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        if old.startswith(new + "/"):
            return  # the kernel says ENOTEMPTY before any file system is asked
        self.both(
            lambda: os.rename(self.real(old), self.real(new)), self.fs.rename(old, new), old, new
        )

    @rule(path=paths, offset=offsets, length=lengths)
    def write(self, path: str, offset: int, length: int) -> None:
        if not self.is_file(path):
            return
        self.turn += 1
        data = bytes([self.turn % 255 + 1]) * length
        with open(self.real(path), "r+b") as file:
            os.pwrite(file.fileno(), data, offset)
        run_now(self.fs.write(path, offset, data))

    @rule(path=paths, size=offsets)
    def truncate(self, path: str, size: int) -> None:
        if self.is_file(path):
            os.truncate(self.real(path), size)
            run_now(self.fs.truncate(path, size))

    @rule(path=paths, offset=offsets, length=lengths)
    def punch(self, path: str, offset: int, length: int) -> None:
        if not self.is_file(path):
            return
        size = self.real(path).stat().st_size
        with open(self.real(path), "r+b") as file:
            os.pwrite(file.fileno(), bytes(max(0, min(offset + length, size) - offset)), offset)
            os.ftruncate(file.fileno(), size)
        ino = run_now(self.fs.ino(path))
        run_now(self.fs.fs.fallocate(ino, 0, offset, length, 3))

    @rule(path=paths, mode=st.sampled_from([0o600, 0o4755, 0o644]))
    def chmod(self, path: str, mode: int) -> None:
        if self.is_file(path):
            os.chmod(self.real(path), mode)
            run_now(self.fs.fs.setattr(run_now(self.fs.ino(path)), Changes(mode=mode), 0, ME))

    @rule(
        path=paths, name=st.sampled_from(["user.x", "user.y"]), size=st.sampled_from([0, 5, 1500])
    )
    def xattr(self, path: str, name: str, size: int) -> None:
        if self.is_file(path):
            os.setxattr(self.real(path), name, b"v" * size)
            ino = run_now(self.fs.ino(path))
            run_now(self.fs.fs.setxattr(ino, name.encode(), b"v" * size, 0, ME))

    @rule()
    def save(self) -> None:
        run_now(self.fs.save())

    @rule(
        steps=st.lists(
            st.one_of(
                st.tuples(st.sampled_from(["mkdir", "create", "unlink", "rmdir"]), paths),
                st.tuples(st.sampled_from(["rename", "link"]), paths, paths),
                st.tuples(st.sampled_from(["write", "punch"]), paths, offsets, lengths),
                st.tuples(st.just("truncate"), paths, offsets),
                st.tuples(st.sampled_from(["drop_caches", "snapshot"])),
            ),
            min_size=1,
            max_size=12,
        ),
        gap=st.integers(0, 3),
    )
    def save_while_changing(self, steps: list[tuple[Any, ...]], gap: int) -> None:
        """Whatever happens between the steps of a save: it has what was there when it began."""
        before = self._real()
        todo = list(steps)
        count = 0

        async def meanwhile() -> None:
            nonlocal count
            count += 1
            if todo and count % (gap + 1) == 0:
                name, *arguments = todo.pop(0)
                getattr(self, name)(*arguments)

        with (
            patch("fossil_fs.overlay.save.checkpoint", meanwhile),
            patch("fossil_fs.overlay.rebase.checkpoint", meanwhile),
        ):
            score = run_now(self.fs.save())
        saved = run_now(Driver.open(self.store, new_scratch(self.place, self.store, score)))
        assert self._ours(saved) == before
        saved.close()

    @rule()
    def snapshot(self) -> None:
        epoch = self.fs.fs.snapshots.take(self.turn, b"2001/0101/%04d" % self.turn)
        self.snapshots[epoch.number] = self._real()

    @rule(which=st.integers(0, 5))
    @precondition(lambda self: self.snapshots)
    def drop_snapshot(self, which: int) -> None:
        number = sorted(self.snapshots)[which % len(self.snapshots)]
        self.fs.fs.snapshots.drop(number)
        del self.snapshots[number]

    @rule(steps=st.integers(1, 20))
    def tidy(self, steps: int) -> None:
        with patch("fossil_fs.scratch.trimming.MERGE_ABOVE", 1):
            while steps and run_now(self.fs.fs.snapshots.tidy()):
                steps -= 1

    @rule()
    @precondition(lambda self: self.snapshots)
    def look_back(self) -> None:
        assert [epoch.number for epoch in self.fs.fs.snapshots] == sorted(self.snapshots)
        for number, expected in self.snapshots.items():
            assert self._ours(run_now(seen(self.fs, number))) == expected, number

    @rule()
    def drop_caches(self) -> None:
        self.fs.drop_caches()

    @rule(kill=st.booleans())
    def reopen(self, kill: bool) -> None:
        if kill:
            self.fs.kill()
        else:
            self.fs.close()
        self.fs = run_now(Driver.open(self.store, self.scratch))

    @rule()
    @precondition(lambda self: self.turn % 3 == 0)
    def mount_elsewhere(self) -> None:
        score = run_now(self.fs.save())
        self.fs.close()
        self.snapshots.clear()  # they are of the scratch
        self.scratch = new_scratch(self.place, self.store, score)
        self.fs = run_now(Driver.open(self.store, self.scratch))

    @invariant()
    def same_tree(self) -> None:
        assert self._ours() == self._real()

    @invariant()
    def sound(self) -> None:
        self.fs.fs.overlay.scratch.check()

    def _ours(self, fs: Driver | None = None) -> dict[str, tuple[object, ...]]:
        tree = run_now((fs or self.fs).tree())
        return {
            path: (mode, None if stat.S_ISDIR(mode) else links, what, xattrs)  # type: ignore[arg-type]
            for path, (mode, _, _, _, _, links, what, xattrs) in tree.items()
        }

    def _real(self) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in self.model.rglob("*"):
            status = path.lstat()
            what: object = None
            xattrs: dict[bytes, bytes] = {}
            if path.is_symlink():
                what = os.readlink(path).encode()
            elif path.is_file():
                what = path.read_bytes()
                xattrs = {os.fsencode(n): os.getxattr(path, n) for n in os.listxattr(path)}
            links = None if path.is_dir() and not path.is_symlink() else status.st_nlink
            found["/" + str(path.relative_to(self.model))] = (status.st_mode, links, what, xattrs)
        return found


TestBoth = Both.TestCase
TestBoth.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
