"""A snapshot, or parts of it, into a directory of the host."""

import errno
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from fossil_fs.content import read_target, read_xattrs
from fossil_fs.directory import Directory
from fossil_fs.find import NoSuchPath
from fossil_fs.format.names import check_name, show_name
from fossil_fs.node import Node
from fossil_fs.restore.attributes import apply
from fossil_fs.restore.content import AT_ONCE_BYTES, copy_content, write_small
from fossil_fs.restore.place import (
    clear,
    link_again,
    make_directory,
    make_file,
    make_special,
    open_path,
    open_target,
)
from fossil_fs.restore.report import Report
from fossil_fs.restore.select import EVERYTHING, Selection, select
from fossil_fs.snapshot import Snapshot
from venti_store.errors import BadTree, CorruptBlock, NoSuchBlock
from venti_store.interfaces import Key
from venti_store.kind import Kind

AT_ONCE_FILES: Final = 256  # small files whose blocks are asked for together

DAMAGE: Final = (CorruptBlock, NoSuchBlock, BadTree)  # of one file; the others can be restored


async def restore(
    snapshot: Snapshot,
    target: bytes,
    paths: Sequence[bytes] = (),
    *,
    replace: bool = False,
    report: Report | None = None,
) -> Report:
    """Restore `paths` of a snapshot, by default all of it, below the directory `target`.

    `target` is made if it is not there. What is there already stays and is reported; with `replace`
    files are replaced, directories never. What cannot be restored is told to the report and passed
    over. Raises NoSuchPath, as the store does, and OSError for the target.
    """
    report = report or Report()
    selection = select(paths)
    top = snapshot.directory(report=lambda name, error: report.trouble(name, str(error)))
    if selection.names is not None:
        await _check(top, selection, b"")
    run = _Run(snapshot, target, open_target(target), replace, report)
    try:
        await run.fill(top, selection)
    finally:
        os.close(run.top_fd)
    return report


async def _check(directory: Directory, selection: Selection, path: bytes) -> None:
    """Raise NoSuchPath unless all of a selection is there."""
    for name, below in (selection.names or {}).items():
        shown = os.path.join(path, name)
        node = await directory.lookup(name)
        if node is None or (below.names is not None and not node.is_dir):
            raise NoSuchPath(f"{show_name(shown)}: no such file in the tree")
        if below.names:
            await _check(directory.child(node), below, shown)


@dataclass(slots=True)
class _Level:
    """A directory being filled; `rest` are the subdirectories still to do, last one first."""

    directory: Directory
    node: Node
    selection: Selection
    path: tuple[bytes, ...]  # below the target
    fd: int
    rest: list[tuple[bytes, Node]]


@dataclass(slots=True)
class _First:
    """Where the first name of a linked inode was made."""

    path: tuple[bytes, ...]
    inode: tuple[int, int]


class _Run:
    def __init__(
        self, snapshot: Snapshot, target: bytes, top_fd: int, replace: bool, report: Report
    ) -> None:
        self.store = snapshot.store
        self.snapshot = snapshot
        self.target = target
        self.top_fd = top_fd
        self.replace = replace
        self.report = report
        self.firsts: dict[int, _First] = {}

    async def fill(self, top: Directory, selection: Selection) -> None:
        root = self.snapshot.root
        levels = [_Level(top, root, selection, (), os.dup(self.top_fd), [])]
        try:
            await self._files(levels[-1])
            while levels:
                level = levels[-1]
                if level.rest:
                    child = await self._descend(level, *level.rest.pop())
                    if child is not None:
                        levels.append(child)
                        await self._files(child)
                    continue
                if level.path or level.selection is EVERYTHING:
                    await self._finish(level.fd, level.node, level.path)
                os.close(levels.pop().fd)
        finally:
            for level in levels:
                os.close(level.fd)

    async def _descend(self, level: _Level, name: bytes, node: Node) -> _Level | None:
        path = (*level.path, name)
        try:
            fd = make_directory(level.fd, name, replace=self.replace)
        except OSError as error:
            self._trouble(path, error)
            return None
        self.report.directories += 1
        directory = level.directory.child(node)
        return _Level(directory, node, level.selection.below(name), path, fd, [])

    async def _files(self, level: _Level) -> None:
        """Make everything in a directory but its subdirectories, which are kept for later."""
        small: list[tuple[bytes, Node]] = []
        size = 0
        try:
            async for batch in _entries(level.directory, level.selection):
                for name, node in batch:
                    check_name(name)
                    if node.is_dir:
                        level.rest.append((name, node))
                    elif _is_small(node):
                        small.append((name, node))
                        size += node.size
                    else:
                        await self._one(level, name, node, None)
                    if size >= AT_ONCE_BYTES or len(small) >= AT_ONCE_FILES:
                        await self._small(level, small)
                        small, size = [], 0
        except DAMAGE as error:
            self._trouble(level.path, error)
        await self._small(level, small)
        level.rest.reverse()

    async def _small(self, level: _Level, files: list[tuple[bytes, Node]]) -> None:
        """Make files of one block each, whose blocks are fetched together."""
        keys = [Key(node.content.score, Kind.DATA) for _, node in files if node.content]
        blocks: list[bytes | None]
        try:
            blocks = list(await self.store.get_many(keys))
        except DAMAGE:
            blocks = [None] * len(files)  # one is bad: each is asked for alone
        for (name, node), block in zip(files, blocks, strict=True):
            await self._one(level, name, node, block)

    async def _one(self, level: _Level, name: bytes, node: Node, block: bytes | None) -> None:
        """Make one file; `block` is its whole content where that is known already."""
        path = (*level.path, name)
        try:
            if self.replace:
                clear(level.fd, name)
            first = self.firsts.get(node.link) if node.link is not None else None
            if first is not None:
                link_again(self.top_fd, first.path, first.inode, level.fd, name)
            else:
                inode = await self._make(level.fd, name, node, path, block)
                if node.link is not None:
                    self.firsts[node.link] = _First(path, inode)
        except (OSError, *DAMAGE) as error:
            self._trouble(path, error)
        else:
            self.report.files += 1
            self.report.size += node.size
            self.report.on_done(self._shown(path))

    async def _make(
        self, dir_fd: int, name: bytes, node: Node, path: tuple[bytes, ...], block: bytes | None
    ) -> tuple[int, int]:
        """Make a file that is not there; return (device, inode). Nothing stays of one that fails."""
        if node.is_file:
            fd = make_file(dir_fd, name)
        else:
            if node.is_symlink:
                os.symlink(await read_target(self.store, node), name, dir_fd=dir_fd)
            else:
                make_special(dir_fd, name, node.mode, node.rdev)
            fd = open_path(dir_fd, name)
        try:
            if block is not None:
                write_small(fd, block, node.size)
            elif node.is_file and node.content is not None:
                await copy_content(self.store, node.content, fd)
            await self._finish(fd, node, path)
            state = os.fstat(fd)
        except (OSError, *DAMAGE):
            os.unlink(name, dir_fd=dir_fd)
            raise
        finally:
            os.close(fd)
        return state.st_dev, state.st_ino

    async def _finish(self, fd: int, node: Node, path: tuple[bytes, ...]) -> None:
        """Give a file its owner, mode, attributes and time."""

        def lost(what: str) -> None:
            self.report.loss(self._shown(path), what)

        try:
            xattrs = await read_xattrs(self.store, node)
        except DAMAGE as error:
            xattrs = ()
            lost(f"extended attributes ({error})")
        apply(fd, node, xattrs, lost, only_path=not (node.is_file or node.is_dir))

    def _shown(self, path: Sequence[bytes]) -> bytes:
        return os.path.join(self.target, *path)

    def _trouble(self, path: Sequence[bytes], error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else None
        if why == os.strerror(errno.EEXIST):
            why = "is there already"
        self.report.trouble(self._shown(path), why or str(error))


def _is_small(node: Node) -> bool:
    """Tell whether one block holds all of a file that has any."""
    content = node.content
    return node.is_file and content is not None and not content.depth and node.link is None


async def _entries(
    directory: Directory, selection: Selection
) -> AsyncIterator[list[tuple[bytes, Node]]]:
    if selection.names is None:
        async for batch in directory.entries():
            yield batch
        return
    for name in sorted(selection.names):
        node = await directory.lookup(name)
        if node is not None:
            yield [(name, node)]
