"""Snapshots: a score and the tree below it, whoever wrote it.

The root block names a leaf of entries: 0 and 1 are the root directory's streams, 2 a stream with one
MetaBlock that holds the root's own record. Native trees have the links streams in 3 and 4, where
there are links, and the root's long extended attributes in 5; classic ones those in 3.
fossil puts one more directory between: its entry 0 leads to a leaf like that.
Source: plan9port's vac and fossil as observed (docs/reference/formats/root.md).
"""

from dataclasses import dataclass, replace
from typing import Final

from fossil_fs.directory.read import Directory, Report
from fossil_fs.format.direntry import SECTION_QID_SPACE, pack_direntry, unpack_direntry
from fossil_fs.format.metablock import Packer, unpack_metablock
from fossil_fs.links import Links
from fossil_fs.node import NO_OWNERS, Node, Owners
from fossil_fs.record import (
    Record,
    is_native,
    make_record,
    pack_inode,
    stream_sizes,
    to_entries,
    to_node,
    unpack_record,
)
from venti_store.errors import BadTree
from venti_store.hashtree.build import TreeBuilder
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry, pack_entry
from venti_store.hashtree.read import read
from venti_store.hashtree.root import Root, pack_root, unpack_root
from venti_store.hashtree.slots import unpack_leaf
from venti_store.interfaces import BlockReader, BlockSink, Key
from venti_store.kind import Kind
from venti_store.score import Family, Score

TYPE: Final = b"vac"
NAME_OF_ROOT: Final = b"/"  # what the root's own record is called
QID_MAX_CLASSIC: Final = 1 << 63  # fossil numbers new files from here; ours are all below
SLOT_SOURCE, SLOT_META, SLOT_SELF, SLOT_LINKS, SLOT_LINKS_META, SLOT_XATTRS = range(6)
SLOT_XATTRS_CLASSIC: Final = 3
_SLOTS_MAX: Final = 16  # more are ignored


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree that was opened; `root` is its root directory, `prev` the score of the one before."""

    store: BlockReader
    score: Score
    family: Family
    classic: bool
    name: bytes
    root: Node
    links: Links | None
    prev: Score | None
    blocksize: int
    owners: Owners = NO_OWNERS
    saved_ns: int | None = None  # when a mount was saved as this

    def directory(
        self, *, report: Report | None = None, cache: PointerCache | None = None
    ) -> Directory:
        """Return the root directory."""
        return Directory(
            self.store,
            self.root.content,
            self.root.meta,
            self.links,
            owners=self.owners,
            qid_offset=self.root.qid_offset,
            report=report,
            cache=cache,
        )

    @property
    def link_streams(self) -> tuple[Entry, Entry] | None:
        """The links streams, as `write_snapshot` and `edit_links` take them."""
        return (self.links.source, self.links.meta) if self.links is not None else None


async def open_snapshot(
    store: BlockReader, score: Score, *, owners: Owners = NO_OWNERS
) -> Snapshot:
    """Open the tree below the root block `score`: native, or of vac, `vac -a`, fossil, `fsys vac`.

    Raises as the store does; BadTree if it is no such tree. Reads three or four blocks.
    """
    family = store.family
    root = await read_root(store, score)
    if root.type != TYPE:
        raise BadTree(f"{score.hex()}: a root of type {root.type!r}, not {TYPE!r}")
    (leaf,) = await store.get_many([Key(root.score, Kind.DIRECTORY)])
    slots = _slots(family, leaf, root.blocksize)
    inner = slots[SLOT_SOURCE]
    if slots[SLOT_SELF] is None and inner is not None and inner.directory and not is_native(family):
        slots = _slots(family, await read(store, inner, 0, inner.dsize), inner.dsize)
    source, meta, own = slots[SLOT_SOURCE], slots[SLOT_META], slots[SLOT_SELF]
    if source is None or meta is None or own is None or own.directory:
        raise BadTree(f"{score.hex()}: a root without a directory")
    block = unpack_metablock(await read(store, own, 0, own.dsize), own.dsize)
    if not block.slots:
        raise BadTree(f"{score.hex()}: a root without a record")
    record = unpack_record(block.record(0))
    node = _root_node(record, slots, owners)
    links = None
    if is_native(family):
        streams = slots[SLOT_LINKS], slots[SLOT_LINKS_META]
        if streams[0] is not None and streams[1] is not None:
            links = Links(store, streams[0], streams[1])
        elif streams != (None, None):
            raise BadTree(f"{score.hex()}: half of the links streams")
    prev = None if family.is_nothing(root.prev) else root.prev
    return Snapshot(
        store,
        score,
        family,
        not is_native(family),
        root.name,
        node,
        links,
        prev,
        root.blocksize,
        owners,
        record.extra.saved if record.extra is not None else None,
    )


async def read_root(store: BlockReader, score: Score) -> Root:
    """Return the root block `score` names; as the store raises, and BadTree."""
    (data,) = await store.get_many([Key(score, Kind.ROOT)])
    return unpack_root(store.family, data)


def _slots(family: Family, leaf: bytes, dsize: int) -> list[Entry | None]:
    slots = list(unpack_leaf(family, leaf, max(dsize, len(leaf))))[:_SLOTS_MAX]
    return slots + [None] * (_SLOTS_MAX - len(slots))


def _root_node(record: Record, slots: list[Entry | None], owners: Owners) -> Node:
    """Return the root's node: the streams are in slots 0 and 1, whatever its record says."""
    source, meta, extra = slots[SLOT_SOURCE], slots[SLOT_META], record.extra
    entry = replace(
        record.entry,
        entry=SLOT_SOURCE,
        mentry=SLOT_META,
        gen=source.gen if source else 0,
        mgen=meta.gen if meta else 0,
    )
    record = make_record(entry)
    streams = [source, meta]
    if extra is not None and extra.xattr_slot is not None:
        if not SLOT_SELF < extra.xattr_slot < len(slots):
            raise BadTree(f"root: extended attributes in slot {extra.xattr_slot}")
        streams.append(slots[extra.xattr_slot])
    if len(record.slots) != len(streams) or not (node := to_node(record, streams, owners)).is_dir:
        raise BadTree("root: not a directory")
    return node


def write_snapshot(
    sink: BlockSink,
    root: Node,
    links: tuple[Entry, Entry] | None = None,
    *,
    prev: Score | None = None,
    name: bytes = b"",
    blocksize: int | None = None,
    saved_ns: int | None = None,
) -> Score:
    """Write the root block of a tree and return its score.

    `root` has the root directory's streams; `links` (native trees only) those of its linked inodes.
    The caller stores and syncs the blocks below before this one, and syncs after it. On sha1 stores
    the tree is one that vac, vacfs and fossil read.
    """
    family = sink.family
    native = is_native(family)
    if links is not None and not native:
        raise ValueError("classic trees have no links streams")
    xattrs_at = SLOT_XATTRS if native else SLOT_XATTRS_CLASSIC
    slots: list[Entry | None] = [None] * (SLOT_XATTRS + 1)
    slots[SLOT_SOURCE], slots[SLOT_META], *xattrs = to_entries(family, root)
    slots[SLOT_SELF] = _write_self(sink, root, xattrs_at, saved_ns)
    if links is not None:
        slots[SLOT_LINKS : SLOT_LINKS_META + 1] = links
    if xattrs:
        slots[xattrs_at] = xattrs[0]
    leaf = b"".join(pack_entry(family, slot) for slot in slots).rstrip(b"\0")
    _, dsize = stream_sizes(family)
    nothing = family.nothing if prev is None else prev
    block = Root(name, TYPE, sink.put(Kind.DIRECTORY, leaf), blocksize or dsize, nothing)
    return sink.put(Kind.ROOT, pack_root(family, block))


def _write_self(sink: BlockSink, root: Node, xattrs_at: int, saved_ns: int | None) -> Entry:
    """Write the stream that holds the root's own record alone."""
    family = sink.family
    slot = xattrs_at - 2 if root.xattr_stream is not None else 0
    own = replace(root, link=None, qid_offset=0)
    entry = replace(
        unpack_direntry(pack_inode(family, NAME_OF_ROOT, own, slot, saved=saved_ns)),
        entry=SLOT_SOURCE,
        mentry=SLOT_META,
    )
    if not is_native(family):
        space = bytes(8) + QID_MAX_CLASSIC.to_bytes(8, "big")
        entry = replace(entry, sections=((SECTION_QID_SPACE, space), *entry.sections))
    psize, dsize = stream_sizes(family)
    packer = Packer(dsize)
    packer.add(pack_direntry(entry))
    builder = TreeBuilder(sink, dsize=dsize, psize=psize)
    builder.write_block(packer.finish() or b"")
    return builder.finish()
