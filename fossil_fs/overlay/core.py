"""The overlay itself: what an inode is now, how a name is found, how changes are made.

`Change` collects one mutation and applies it as a whole. Lifting an inode into the scratch also
writes the names that lead to it from the root (see the package's invariants).
"""

import stat
import time
from collections.abc import Callable
from errno import EEXIST, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, ESTALE
from random import Random
from typing import Final, NamedTuple

from fossil_fs.node import Node
from fossil_fs.overlay.base import Base, Streams
from fossil_fs.overlay.table import Known, Table
from fossil_fs.scratch import records
from fossil_fs.scratch.journal import Op, delete, put
from fossil_fs.scratch.records import (
    GONE,
    LINK_IN_BASE,
    ROOT,
    XATTRS_HERE,
    Inode,
    with_times,
    with_version,
)
from fossil_fs.scratch.scratch import Scratch
from fossil_fs.snapshot import Snapshot
from venti_store.hashtree.entry import Entry, pack_entry, unpack_entry

NAME_MAX: Final = 255
BLOCK: Final = 64 << 10  # bytes in a data block of a new native file
RECORD_ROOM: Final = 2048  # bytes that a new inode and its name may take in the metadata
STREAMS_MAX: Final = 1024  # directories whose packed entries are kept unpacked


class Place(NamedTuple):
    """A name in a directory."""

    directory: int
    name: bytes


class Overlay:
    """A base and a scratch as one tree of inodes."""

    def __init__(
        self,
        scratch: Scratch,
        base: Base,
        snapshot: Snapshot,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.scratch = scratch
        self.base = base
        self.family = base.family
        self.table = Table()
        self.clock = clock
        self.block_size = BLOCK if base.family.size != 20 else 8192
        self.saves = 0
        self._random = Random()  # seeded by the system; numbers need to be new, not secret
        self._streams: dict[tuple[bytes, bytes, int], Streams] = {}
        self.removed_names: set[Place] | None = None  # while a save runs: names dropped since
        self.snapshot = snapshot
        root = self.table.root()
        root.node = snapshot.root
        root.offset = snapshot.root.qid_offset

    # what an inode is

    def record(self, ino: int) -> Inode | None:
        return self.scratch.inode(ino)

    def known(self, ino: int) -> Known:
        known = self.table.get(ino)
        if known is None:
            raise OSError(ESTALE, "inode")
        return known

    def node(self, ino: int) -> Node:
        """Return what the base says of an inode without a record."""
        node = self.known(ino).node
        if node is None:
            raise OSError(ESTALE, "inode")
        return node

    def inode(self, ino: int) -> Inode:
        """Return an inode as it would stand in the scratch; ESTALE."""
        return self.record(ino) or self.from_node(self.known(ino))

    def from_node(self, known: Known) -> Inode:
        node = self.node(known.ino)
        return Inode(
            version=0,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            rdev=known.offset if node.is_dir else node.rdev,
            nlink=0 if known.gone else max(node.nlink, 1),
            size=0 if node.is_dir else node.size,
            atime_ns=node.mtime_ns,
            mtime_ns=node.mtime_ns,
            ctime_ns=node.mtime_ns,
            btime_ns=node.mtime_ns,
            qid=node.qid,
            link=-1 if node.link is None else node.link,
            subdirs=known.subdirs,
            flags=LINK_IN_BASE if node.link is not None else 0,
            content=self.pack(node.content),
            meta=self.pack(node.meta),
            xattr_stream=self.pack(node.xattr_stream),
            layers=(),
        )

    def pack(self, entry: Entry | None) -> bytes:
        return b"" if entry is None else pack_entry(self.family, entry)

    def unpack(self, data: bytes) -> Entry | None:
        return unpack_entry(self.family, data) if data else None

    def mode(self, ino: int) -> int:
        record = self.record(ino)
        return record.mode if record is not None else self.node(ino).mode

    def streams(self, directory: int) -> Streams | None:
        """Return the base of a directory, None where it has none; ENOTDIR, ESTALE."""
        record = self.record(directory)
        if record is None:
            known = self.known(directory)
            node = self.node(directory)
            if not node.is_dir:
                raise OSError(ENOTDIR, "not a directory")
            return Streams(node.content, node.meta, known.offset) if node.meta else None
        if not stat.S_ISDIR(record.mode):
            raise OSError(ENOTDIR, "not a directory")
        if not record.meta:
            return None
        packed = record.content, record.meta, record.rdev
        streams = self._streams.get(packed)
        if streams is None:
            streams = Streams(self.unpack(record.content), self.unpack(record.meta), record.rdev)
            if len(self._streams) >= STREAMS_MAX:
                self._streams.clear()
            self._streams[packed] = streams
        return streams

    # names

    async def find(self, directory: int, name: bytes) -> int:
        """Return the inode under a name, now in the table; ENOENT and others."""
        ino = await self.find_maybe(directory, name)
        if ino is None:
            raise OSError(ENOENT, "no such name")
        return ino

    async def find_maybe(self, directory: int, name: bytes) -> int | None:
        """Return the inode under a name, or None."""
        if len(name) > NAME_MAX:
            raise OSError(ENAMETOOLONG, "name")
        while True:
            ino = self.scratch.child(directory, name)
            if ino is not None:
                if ino == GONE:
                    return None
                self.table.see(ino, directory, name)
                return ino
            streams = self.streams(directory)
            if streams is None:
                return None
            node = await self.base.lookup(streams, name)
            if self.is_still(directory, streams, name):
                return None if node is None else self.identify(directory, name, node).ino

    def is_still(self, directory: int, streams: Streams | None, name: bytes) -> bool:
        """Tell whether a name must still be looked for in `streams`, as before an await."""
        return self.scratch.child(directory, name) is None and self.streams(directory) == streams

    async def base_has(self, directory: int, name: bytes) -> tuple[bool, Streams | None]:
        """Tell whether the directory's base has a name, and which base that was."""
        streams = self.streams(directory)
        return streams is not None and await self.base.lookup(streams, name) is not None, streams

    def identify(self, directory: int, name: bytes, node: Node) -> Known:
        """Return the table's entry for a node found in the base."""
        known = self.table.get(node.qid)
        if (
            known is not None
            and known.node is not None
            and node.link is None
            and (known.parent, known.name) == (directory, name)
            and not known.gone
        ):
            known.node = node
            return known
        ino = self._number(Place(directory, name), node)
        known = self.table.see(ino, directory, name)
        if self.scratch.get(records.inode_key(ino)) is None:
            known.node = node
            if node.is_dir:
                known.offset = self._offset_below(directory, node)
        return known

    def _offset_below(self, directory: int, node: Node) -> int:
        streams = self.streams(directory)
        return ((streams.offset if streams else 0) + node.qid_offset) & (2**64 - 1)

    def _number(self, place: Place, node: Node) -> int:
        """Return the node's qid, or a fresh number where another inode has that already."""
        if node.link is not None:
            place = Place(0, b"%x" % node.link)  # all of its names are the same inode
            changed = self.scratch.linked(node.link)
            if changed:
                return changed
        alias = self.table.aliases.get(place)
        if alias is not None:
            return alias
        if self._is_free(node.qid, place, node):
            return node.qid
        ino = self.fresh_number()
        self.table.alias(place, ino)
        return ino

    def _is_free(self, qid: int, place: Place, node: Node) -> bool:
        record = self.record(qid)
        known = self.table.get(qid)
        if qid <= ROOT:
            return False
        if node.link is not None:
            if record is not None:
                return record.link == node.link
            return known is None or (known.node is not None and known.node.link == node.link)
        if record is not None:
            return False  # its own name would have led to it
        return known is None or (
            (known.parent, known.name) == place and not known.gone and known.node is not None
        )

    def fresh_number(self) -> int:
        """Return an inode number that nothing has."""
        while True:
            ino = self._random.getrandbits(63)
            if ino > ROOT and self.table.get(ino) is None and self.record(ino) is None:
                return ino

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

    def is_gone(self, ino: int) -> bool:
        """Tell whether an inode has no name any more."""
        record = self.record(ino)
        return record.nlink == 0 if record is not None else self.known(ino).gone


class Change:
    """One mutation in the making; nothing has happened until `apply`."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.now = overlay.clock()
        self.ops: list[Op] = []
        self._inodes: dict[int, Inode] = {}
        self._names: dict[Place, int | None] = {}
        self._condemned: list[int] = []
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

    def condemn(self, inode: Inode) -> None:
        self._condemned += [layer.number for layer in inode.layers]

    def forget(self, ino: int) -> None:
        """Drop all records of an inode without a name."""
        inode = self._inodes.pop(ino, None) or self.overlay.record(ino)
        if inode is not None:
            self.condemn(inode)
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
        for ino, unversioned in inodes.items():
            inode = inodes[ino] = with_version(unversioned, scratch.next_version())
            ops.append(put(records.inode_key(ino), records.pack_inode(inode)))
        for place, child in self._names.items():
            key = records.name_key(*place)
            ops.append(delete(key) if child is None else put(key, records.pack_number(child)))
        scratch.apply(ops, inodes)
        if self._condemned:
            scratch.files.condemn(self._condemned)
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
