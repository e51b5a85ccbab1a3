"""Inodes with several names: which of a tree's files are one, and what the archive keeps of them.

What counts is the names inside the tree, so a copy of the tree is archived alike. Only when all of
it was seen is it known whether an inode has more than one; until then the directories with names
of such inodes wait. An inode's number is the qid of its first name.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from fossil_fs.ingest.remember import UNKNOWN, Record
from fossil_fs.node import Node

NAMES_MAX: Final = 0xFFFFFFFF


@dataclass(slots=True, eq=False)
class Inode:
    """A file that the host says has several names. `node` is None until it is read, or if it cannot."""

    first: bytes  # path of its first name
    qid: int
    mode: int
    sign: bytes  # signature, without number
    names: int = 0  # seen in the tree
    node: Node | None = None
    kept: tuple[Record, bytes] | None = None  # unchanged: the old directory and the name in it

    @property
    def linked(self) -> bool:
        """Tell whether it has several names in the tree; final when all of it was seen."""
        return self.names > 1

    @property
    def number(self) -> int | None:
        """What its names refer to, None where it has but one."""
        return self.qid if self.linked else None

    @property
    def known(self) -> bool:
        """Tell whether the archive can hold it."""
        return self.node is not None or self.kept is not None

    def stub(self) -> Node:
        """Return what a directory holds for each of several names."""
        return Node(stat.S_IFMT(self.mode), qid=self.qid, link=self.qid)

    def whole(self, node: Node) -> Node:
        """Return `node`, which was read now or in the last run, with the names it has now."""
        return replace(node, qid=self.qid, link=None, nlink=self.names)

    def note(self) -> tuple[bytes, bytes]:
        """Return what tells for the next run whether its record in the links streams is right."""
        return b"%016x" % self.qid, b"%b%08x" % (self.sign, min(self.names, NAMES_MAX))


class HardLinks:
    """All inodes with several names that were seen so far, in the order of their first names."""

    def __init__(self) -> None:
        self._inodes: dict[tuple[int, int], Inode] = {}

    def see(self, state: os.stat_result, path: bytes, qid: int, sign: bytes) -> Inode:
        """Count one name of an inode; `names` is 1 the first time."""
        key = (state.st_dev, state.st_ino)
        inode = self._inodes.get(key)
        if inode is None:
            inode = self._inodes[key] = Inode(path, qid, state.st_mode, sign)
        elif inode.sign != sign:
            inode.sign = UNKNOWN  # touched since its first name was seen
        inode.names += 1
        return inode

    def linked(self) -> Iterator[Inode]:
        """Give those that go to the links streams, ascending by number."""
        found = [inode for inode in self._inodes.values() if inode.linked and inode.known]
        yield from sorted(found, key=lambda inode: inode.qid)
