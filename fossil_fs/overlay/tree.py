"""What an inode is and how a name is found: a base, and above it a state of the scratch.

The state is the scratch as it is now, or as a snapshot of it was.
"""

import stat
from errno import ENAMETOOLONG, ENOENT, ENOTDIR, ESTALE
from random import Random
from typing import Final, NamedTuple

from fossil_fs.node import Node
from fossil_fs.overlay.base import Base, Streams
from fossil_fs.overlay.table import Known, Table
from fossil_fs.scratch import records
from fossil_fs.scratch.datafiles import DataFiles
from fossil_fs.scratch.records import GONE, INODE_END, LINK_IN_BASE, ROOT, Inode
from fossil_fs.scratch.scratch import Records
from fossil_fs.snapshot import Snapshot
from venti_store.hashtree.entry import Entry, pack_entry, unpack_entry

NAME_MAX: Final = 255
STREAMS_MAX: Final = 1024  # directories whose packed entries are kept unpacked


class Place(NamedTuple):
    """A name in a directory."""

    directory: int
    name: bytes


class Tree:
    """A base and a state of a scratch as one tree of inodes."""

    def __init__(self, state: Records, files: DataFiles, base: Base, snapshot: Snapshot) -> None:
        self.state = state
        self.files = files
        self.base = base
        self.family = base.family
        self.table = Table()
        self.snapshot = snapshot
        self._random = Random()  # seeded by the system; numbers need to be new, not secret
        self._streams: dict[tuple[bytes, bytes, int], Streams] = {}
        root = self.table.root()
        root.node = snapshot.root
        root.offset = snapshot.root.qid_offset

    # what an inode is

    def record(self, ino: int) -> Inode | None:
        return self.state.inode(ino)

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
            ino = self.state.child(directory, name)
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
        return self.state.child(directory, name) is None and self.streams(directory) == streams

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
        if self.state.get(records.inode_key(ino)) is None:
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
            changed = self.state.linked(node.link)
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
        if qid <= ROOT or qid >= INODE_END:
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

    def is_gone(self, ino: int) -> bool:
        """Tell whether an inode has no name any more."""
        record = self.record(ino)
        return record.nlink == 0 if record is not None else self.known(ino).gone
