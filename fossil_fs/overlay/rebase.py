"""After a save: the overlay stands on the new base, and what did not change since needs no record.

Every step is one mutation that leaves names and bytes as they are, so writers go on between any two
and a kill between any two is harmless:

1. The scratch names the new score as its base.
2. Files that changed since get the saved bytes as their base and lose the frozen layers.
3. Directories, the deepest first: the saved streams become the directory's base; then its names
   lead to the base again where name and inode are as they were saved.
4. Links likewise; then, if nothing is left, the root.

Snapshots that see bytes that are in the store now have them from there: their space is free too.

The frozen state is not read any more: as long as it is open, each page that these steps give up in the
metadata stays taken, and there are several for every name.
"""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from fossil_fs.node import Node
from fossil_fs.overlay.core import Overlay
from fossil_fs.overlay.tree import Place
from fossil_fs.scratch import records
from fossil_fs.scratch.history import pack_past
from fossil_fs.scratch.journal import Op, delete, erase, put
from fossil_fs.scratch.journal import replace as replace_op
from fossil_fs.scratch.records import GONE, INLINE, LINK_IN_BASE, ROOT, XATTRS_HERE, Inode
from fossil_fs.snapshot import Snapshot
from lib9.faults import fault
from lib9.waiting import checkpoint
from venti_store.score import format_score

CHUNK: Final = 200  # names of one step: writers wait for no more than that


@dataclass(slots=True)
class Saved:
    """What a save made of the frozen state: nodes by inode, and the version each was made from."""

    nodes: dict[int, Node] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    layered: dict[int, Inode] = field(default_factory=dict)  # the records that had layers
    names: dict[int, dict[bytes, int]] = field(default_factory=dict)  # by directory, as frozen
    directories: list[int] = field(default_factory=list)  # parents before their children
    links: dict[int, int] = field(default_factory=dict)  # number to inode or GONE


class Rebase:
    """The steps after one save."""

    def __init__(self, overlay: Overlay, saved: Saved) -> None:
        self._overlay = overlay
        self._scratch = overlay.scratch
        self._saved = saved
        self._nodes: Mapping[int, Node] = saved.nodes
        self._first_new = overlay.scratch.frozen_below

    async def run(self, snapshot: Snapshot) -> None:
        overlay, scratch = self._overlay, self._scratch
        score = format_score(snapshot.score).encode()
        scratch.apply([put(records.state_key(b"base"), score)])
        overlay.snapshot = snapshot
        fault("rebase.begun")
        for ino, node in self._nodes.items():
            if not node.is_dir:
                self._rebase_file(ino, node)
                await checkpoint()
        for directory in reversed(self._saved.directories):
            self._switch(directory)
            fault("rebase.directory-switched")
            names = list(self._saved.names[directory].items())
            for at in range(0, len(names), CHUNK):
                self._release_names(directory, names[at : at + CHUNK])
                await checkpoint()
        self._release_links(self._saved.links)
        self._release_root()
        fault("rebase.done")

    def _is_as_saved(self, ino: int) -> bool:
        """Tell whether an inode, and of a directory all below it, is as it was saved."""
        record = self._scratch.inode(ino)
        if record is None or record.version != self._saved.versions.get(ino):
            return False
        return next(self._scratch.scan(records.name_key(ino, b"")), None) is None

    def _rebase_file(self, ino: int, node: Node) -> None:
        """Let a file that changed since stand on what was saved of it."""
        scratch = self._scratch
        record = scratch.inode(ino)
        if record is None or record.version == self._saved.versions[ino]:
            return
        flags = record.flags | (LINK_IN_BASE if node.link is not None else 0)
        kept = tuple(layer for layer in record.layers if layer.number >= self._first_new)
        dropped = [layer.number for layer in record.layers if layer.number < self._first_new]
        content = b"" if record.flags & INLINE else self._overlay.pack(node.content)
        symlink = node.is_symlink and not record.content
        new = record._replace(
            flags=flags,
            content=b"" if symlink else content,
            layers=kept,
            xattr_stream=self._xattr_stream(record, node),
        )
        saved = self._saved.layered.get(ino)
        ops = self._past_at_rest(ino, saved) if saved is not None else []
        scratch.apply([*ops, put(records.inode_key(ino), records.pack_inode(new))])
        scratch.release(ino, dropped)

    def _past_at_rest(self, ino: int, saved: Inode) -> list[Op]:
        """Return what lets snapshots that see the bytes that were saved have them from the store."""
        if not saved.layers:
            return []
        same = saved.content, saved.layers, saved.size
        return [
            put(key, pack_past(records.pack_inode(self._at_rest(ino, past))))
            for key, past in self._scratch.past_inodes(ino)
            if (past.content, past.layers, past.size) == same
        ]

    def _at_rest(self, ino: int, record: Inode) -> Inode:
        """Return a record with its bytes in the store, where they are as they were saved."""
        content = self._overlay.pack(self._nodes[ino].content)
        return record._replace(content=content, layers=(), flags=record.flags & ~INLINE)

    def _xattr_stream(self, record: Inode, node: Node) -> bytes:
        return b"" if record.flags & XATTRS_HERE else self._overlay.pack(node.xattr_stream)

    def _switch(self, directory: int) -> None:
        """Let a directory stand on its saved streams; names that went meanwhile stay gone."""
        overlay, scratch = self._overlay, self._scratch
        record = scratch.inode(directory)
        if record is None:
            return
        node = self._nodes[directory]
        new = record._replace(
            content=overlay.pack(node.content),
            meta=overlay.pack(node.meta),
            xattr_stream=self._xattr_stream(record, node),
        )
        ops = [put(records.inode_key(directory), records.pack_inode(new))]
        names = self._saved.names[directory]
        for place in overlay.removed_names or ():
            here = place.directory == directory and scratch.child(*place) is None
            if here and names.get(place.name, GONE) != GONE:
                ops.append(put(records.name_key(*place), records.pack_number(GONE)))
        scratch.apply(ops)

    def _release_names(self, directory: int, names: Iterable[tuple[bytes, int]]) -> None:
        scratch = self._scratch
        ops: list[Op] = []
        released: list[tuple[int, Place, Inode]] = []
        if scratch.inode(directory) is None:
            return
        for name, ino in names:
            place = Place(directory, name)
            if scratch.child(*place) != ino:
                continue
            if ino == GONE:
                ops.append(delete(records.name_key(*place)))
            elif self._is_as_saved(ino):
                record = scratch.inode(ino)
                if record is not None:
                    ops.append(delete(records.name_key(*place)))
                    released.append((ino, place, record))
        if not ops:
            return
        for ino, _, record in released:
            if self._nodes[ino].link is None:
                ops += self._drop(ino, record)
        scratch.apply(ops)
        for ino, place, record in released:
            if self._nodes[ino].link is None:
                self._let_go(ino, record)
            self._now_of_base(ino, record, place)

    def _drop(self, ino: int, record: Inode) -> list[Op]:
        scratch = self._scratch
        ops: list[Op] = []
        content = records.content_key(ino)
        if scratch.epochs and stat.S_ISREG(record.mode):
            past = [inode.flags & INLINE for _, inode in scratch.past_inodes(ino)]
            if record.layers or (record.flags & INLINE and not any(past)):
                rest = records.pack_inode(self._at_rest(ino, record))
                ops = [replace_op(records.inode_key(ino), rest), *self._past_at_rest(ino, record)]
            if record.flags & INLINE and not any(past):
                ops.append(erase(content))
        ops += scratch.forget_inode(ino)
        if record.link >= 0:
            ops.append(delete(records.link_key(record.link)))
        return ops

    def _let_go(self, ino: int, record: Inode) -> None:
        if record.layers:
            self._scratch.release(ino, (layer.number for layer in record.layers))

    def _now_of_base(self, ino: int, record: Inode, place: Place | None) -> None:
        """Tell the table that the base has an inode now."""
        table = self._overlay.table
        known = table.get(ino)
        node = self._nodes[ino]
        if known is None or self._scratch.inode(ino) is not None:
            return
        known.node = replace(node, qid_offset=0) if node.is_dir else node
        known.subdirs = record.subdirs
        known.offset = record.rdev if node.is_dir else 0
        if place is not None:
            table.move(known, place.directory, place.name)

    def _release_links(self, links: Mapping[int, int]) -> None:
        scratch = self._scratch
        for number, ino in links.items():
            if scratch.linked(number) != ino:
                continue
            key = records.link_key(number)
            if ino == GONE:
                scratch.apply([delete(key)])
                continue
            record = scratch.inode(ino)
            if record is not None and self._is_as_saved(ino):
                scratch.apply([delete(key), *self._drop(ino, record)])
                self._let_go(ino, record)
                self._now_of_base(ino, record, None)

    def _release_root(self) -> None:
        """Drop the root's record if nothing below it is left."""
        scratch = self._scratch
        record = scratch.inode(ROOT)
        links = next(scratch.scan(b"l"), None)
        if record is not None and links is None and self._is_as_saved(ROOT):
            scratch.apply(self._drop(ROOT, record))
            self._now_of_base(ROOT, record, None)
