"""The overlay itself: how changes are made.

`Change` collects one mutation and applies it as a whole. Lifting an inode into the scratch also
writes the names that lead to it from the root (see the package's invariants).
"""

import stat
import time
from collections.abc import Callable
from errno import EEXIST, EINVAL
from typing import Final

from fossil_fs.overlay.base import Base
from fossil_fs.overlay.tree import Place, Tree
from fossil_fs.scratch import records
from fossil_fs.scratch.journal import Op, delete, put
from fossil_fs.scratch.records import GONE, ROOT, XATTRS_HERE, Inode, with_times, with_version
from fossil_fs.scratch.scratch import Scratch
from fossil_fs.snapshot import Snapshot

BLOCK: Final = 64 << 10  # bytes in a data block of a new native file
RECORD_ROOM: Final = 2048  # bytes that a new inode and its name may take in the metadata


class Overlay(Tree):
    """The tree of a mount: a base and a scratch, which can be changed."""

    def __init__(
        self,
        scratch: Scratch,
        base: Base,
        snapshot: Snapshot,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(scratch, scratch.files, base, snapshot)
        self.scratch = scratch
        self.clock = clock
        self.block_size = BLOCK if base.family.size != 20 else 8192
        self.saves = 0
        self.removed_names: set[Place] | None = None  # while a save runs: names dropped since

    def check_new(self, place: Place) -> None:
        """Refuse a name that appeared while we waited, or one no file may have."""
        directory, name = place
        if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise OSError(EINVAL, "name")
        if self.scratch.child(directory, name) not in (None, GONE):
            raise OSError(EEXIST, "name")

    def note_gone(self, ino: int) -> None:
        """Note that a name was removed, perhaps the last one."""
        known = self.table.get(ino)
        record = self.record(ino)
        if known is not None and (record is None or record.nlink == 0):
            known.gone = True


class Change:
    """One mutation in the making; nothing has happened until `apply`."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.now = overlay.clock()
        self.ops: list[Op] = []
        self._inodes: dict[int, Inode] = {}
        self._names: dict[Place, int | None] = {}
        self._condemned: list[tuple[int, Inode]] = []
        self._forgotten: set[int] = set()

    def inode(self, ino: int) -> Inode:
        """Return the inode as this change leaves it; it is lifted into the scratch."""
        inode = self._inodes.get(ino)
        if inode is None:
            inode = self.overlay.record(ino) or self._lift(ino)
            self._inodes[ino] = inode
        return inode

    def set(self, ino: int, inode: Inode) -> None:
        self._inodes[ino] = inode

    def touch(self, ino: int) -> None:
        """A directory's names change: mtime and ctime are now."""
        self.set(ino, with_times(self.inode(ino), self.now, self.now))

    def name(self, place: Place, ino: int | None) -> None:
        """Let a name lead to an inode, to nothing (GONE), or to the base again (None)."""
        self._names[place] = ino

    def condemn(self, ino: int, inode: Inode) -> None:
        self._condemned.append((ino, inode))

    def forget(self, ino: int) -> None:
        """Drop all records of an inode without a name."""
        inode = self._inodes.pop(ino, None) or self.overlay.record(ino)
        if inode is not None:
            self.condemn(ino, inode)
            is_dir = stat.S_ISDIR(inode.mode)
            self.ops += self.overlay.scratch.forget_inode(ino, is_dir=is_dir)
        self.ops.append(delete(records.orphan_key(ino)))
        self._forgotten.add(ino)

    def _lift(self, ino: int) -> Inode:
        """Return a new record of an inode of the base, and lay the way to it."""
        overlay = self.overlay
        known = overlay.known(ino)
        inode = overlay.from_node(known)
        node = overlay.node(ino)
        if inode.link < 0 and ino != ROOT:
            inode = inode._replace(qid=ino)  # a fresh one, where another inode had its qid
        if node.xattrs:
            self.ops += [put(records.xattr_key(ino, name), value) for name, value in node.xattrs]
            inode = inode._replace(flags=inode.flags | XATTRS_HERE)
        if known.gone:
            self.ops.append(put(records.orphan_key(ino), b""))
        elif inode.link >= 0:
            self.ops.append(put(records.link_key(inode.link), records.pack_number(ino)))
            self.inode(ROOT)
        elif ino != ROOT:
            self._names.setdefault(Place(known.parent, known.name), ino)
            self.inode(known.parent)
        return inode

    def apply(self) -> None:
        """Make the mutation. OSError ENOSPC: the disk is full, and nothing has changed."""
        scratch, ops, inodes = self.overlay.scratch, self.ops, self._inodes
        scratch.admit_change()
        for ino, unversioned in inodes.items():
            inode = inodes[ino] = with_version(unversioned, scratch.next_version())
            ops.append(put(records.inode_key(ino), records.pack_inode(inode)))
        for place, child in self._names.items():
            key = records.name_key(*place)
            ops.append(delete(key) if child is None else put(key, records.pack_number(child)))
        scratch.apply(ops, inodes)
        for ino, before in self._condemned:
            if before.layers:
                scratch.release(ino, (layer.number for layer in before.layers))
        removed = self.overlay.removed_names
        if removed is not None:
            removed.update(place for place, child in self._names.items() if child is None)
        self._update_table()

    def _update_table(self) -> None:
        table = self.overlay.table
        for ino in self._inodes:
            known = table.get(ino)
            if known is not None:
                known.node = None
        for place, child in self._names.items():
            if child:
                table.see(child, *place)
