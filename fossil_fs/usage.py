"""How much a tree holds, counting each directory that occurs in many trees once.

What a directory holds follows from its scores, so the next tree of a history costs what is new in it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from fossil_fs.compare import DEPTH_MAX
from fossil_fs.directory import Directory
from fossil_fs.node import Node
from venti_store.errors import BadTree

REMEMBERED_MAX: Final = 1 << 18  # directories: about 100 MB of memory

_Key = tuple[object, object]


class Usage(NamedTuple):
    """Names that are not directories, and the bytes of their contents; every name counts."""

    files: int
    size: int


@dataclass(slots=True)
class _Level:
    key: _Key
    directory: Directory
    names: AsyncIterator[list[tuple[bytes, Node]]]
    batch: list[tuple[bytes, Node]]
    files: int = 0
    size: int = 0


class UsageCounter:
    """Counts trees one after the other; remembers what is below each directory."""

    def __init__(self) -> None:
        self._known: dict[_Key, Usage] = {}

    async def count(self, root: Node, directory: Directory) -> Usage:
        """Return what `directory`, which is `root`, holds. Raises as the store does, and BadTree."""
        levels = [_level(root, directory)]
        while True:
            top = levels[-1]
            if not top.batch:
                batch = await anext(top.names, None)
                if batch is not None:
                    top.batch = batch
                    continue
                done = Usage(top.files, top.size)
                if len(self._known) < REMEMBERED_MAX:
                    self._known[top.key] = done
                levels.pop()
                if not levels:
                    return done
                self._add(levels[-1], done)
                continue
            _, node = top.batch.pop()
            if not node.is_dir:
                self._add(top, Usage(1, node.size))
                continue
            below = _level(node, top.directory.child(node))
            known = self._known.get(below.key)
            if known is not None:
                self._add(top, known)
            elif len(levels) == DEPTH_MAX:
                raise BadTree(f"more than {DEPTH_MAX} directories within each other")
            else:
                levels.append(below)

    @staticmethod
    def _add(level: _Level, usage: Usage) -> None:
        level.files += usage.files
        level.size += usage.size


def _level(node: Node, directory: Directory) -> _Level:
    return _Level((node.content, node.meta), directory, directory.entries(), [])
