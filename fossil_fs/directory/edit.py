"""Changing a directory: where only nodes change, only the blocks they are in are read and written.

The result is what `write_directory` makes of the same entries, if that made the old directory. A
record that keeps its length and its slots keeps its place, so its block and its entries can be
patched; anything else moves what follows, and the whole directory is written anew.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from fossil_fs.directory.read import Directory, Report
from fossil_fs.directory.write import DirectoryWriter, PackRecord, slot_entries
from fossil_fs.format.metablock import MAGIC
from fossil_fs.format.names import check_name
from fossil_fs.node import Node
from fossil_fs.record import Record, is_native, move_record, pack_record, slot_count, unpack_record
from lib9.waiting import checkpoint
from venti_store.hashtree.entry import Entry, entry_size, pack_entry, unpack_entry
from venti_store.hashtree.read import read_blocks
from venti_store.hashtree.shape import slots_per_leaf
from venti_store.hashtree.slots import slot_count as tree_slot_count
from venti_store.hashtree.update import update
from venti_store.interfaces import BlockReader, BlockSink

Changes = Mapping[bytes, Node | None]  # name to its new node; None: the name goes

_PATCHES_MAX: Final = 4096  # blocks held while patching in place; more are written anew


async def edit_directory(
    store: BlockReader,
    sink: BlockSink,
    source: Entry | None,
    meta: Entry | None,
    changes: Changes,
    *,
    report: Report | None = None,
) -> tuple[Entry, Entry]:
    """Return (source, meta) of the directory with `changes`: new nodes, new names, names gone.

    Blocks go to the sink, whose owner makes them durable. Raises as the store does, BadTree, and
    as `DirectoryWriter.add`; bad records of the old directory as `Directory` does.
    """
    family = store.family

    def pack(name: bytes, node: Node, slot: int) -> bytes:
        return pack_record(family, name, node, slot)

    return await edit_streams(store, sink, source, meta, changes, pack, report)


async def edit_streams(
    store: BlockReader,
    sink: BlockSink,
    source: Entry | None,
    meta: Entry | None,
    changes: Changes,
    pack: PackRecord,
    report: Report | None = None,
) -> tuple[Entry, Entry]:
    """Do what `edit_directory` does, with records of another form."""
    old = Directory(store, source, meta, report=report)
    if source is not None and meta is not None:
        patches = _Patches(store, source, meta, pack)
        if await patches.collect(old, changes, sink):
            return await patches.apply(sink)
    writer = DirectoryWriter(sink, pack)
    await _rewrite(writer, old, changes, _PackedSlots(store, source))
    return writer.finish()


async def _rewrite(
    writer: DirectoryWriter, old: Directory, changes: Changes, slots: "_PackedSlots"
) -> None:
    """Write what stays and what is new, in order."""
    names = sorted(changes, reverse=True)  # the next one last
    walk: AsyncGenerator[list[tuple[bytes, Any]], None]
    walk = old.records() if slots.native else old.entries()
    async with aclosing(walk) as batches:
        async for batch in batches:
            # some milliseconds of work a batch: a file system being saved goes on answering
            await checkpoint()
            kept: list[tuple[bytes, Any]] = [item for item in batch if item[0] not in changes]
            if slots.native:
                kept = await _keep_packed(old, slots, kept)
            for name, item in kept:
                while names and names[-1] < name:
                    _add(writer, names.pop(), changes)
                if isinstance(item, Node):
                    writer.add(name, item)
                    continue
                record, packed = item
                moved = move_record(record, name, writer.slots)
                assert moved is not None
                writer.add_packed(name, moved[0], packed, moved[1])
    while names:
        _add(writer, names.pop(), changes)


def _add(writer: DirectoryWriter, name: bytes, changes: Changes) -> None:
    node = changes[name]
    if node is not None:
        writer.add(name, node)


async def _keep_packed(
    old: Directory, slots: "_PackedSlots", kept: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, Node | tuple[bytes, bytes]]]:
    """Return what stays: plain records as bytes, with their slots' bytes; others as nodes."""
    plain: dict[bytes, Node | tuple[bytes, bytes]] = {}
    for name, record in kept:
        moved = move_record(record, name, 0)
        packed = await slots.get(moved[2], moved[1]) if moved is not None else None
        if packed is not None:
            plain[name] = record, packed
    others = dict(await old.decode(item for item in kept if item[0] not in plain))
    found = ((name, plain.get(name) or others.get(name)) for name, _ in kept)
    return [(name, item) for name, item in found if item is not None]


class _PackedSlots:
    """The slots of a source as bytes; they are asked for in rising order."""

    def __init__(self, store: BlockReader, source: Entry | None) -> None:
        self._store = store
        self._source = source
        self.native = is_native(store.family)
        self._size = entry_size(store.family)
        self._leaf = b""
        self._number = -1

    async def get(self, first: int, count: int) -> bytes | None:
        """Return the entries of a file (one slot) or directory (two); None if they are not usual."""
        source, size, packed = self._source, self._size, b""
        if source is None:
            return None
        for slot in range(first, first + count):
            number, index = divmod(slot, slots_per_leaf(source.dsize, size))
            if number != self._number:
                (self._leaf,) = await read_blocks(self._store, source, number, 1)
                self._number = number
            piece = self._leaf[index * size : (index + 1) * size].ljust(size, b"\0")
            entry = unpack_entry(self._store.family, piece)
            if entry is None or entry.gen or entry.directory != (count == 2 and slot == first):
                return None
            packed += piece
        return packed


class _Patches:
    """Blocks of both streams as they are to be, by their numbers."""

    def __init__(self, store: BlockReader, source: Entry, meta: Entry, pack: PackRecord) -> None:
        self._store = store
        self._source = source
        self._meta = meta
        self._pack = pack
        self._entry_size = entry_size(store.family)
        self._per_leaf = slots_per_leaf(source.dsize, self._entry_size)
        self._meta_blocks: dict[int, bytearray] = {}
        self._leaves: dict[int, bytearray] = {}

    async def collect(self, old: Directory, changes: Changes, sink: BlockSink) -> bool:
        """Tell whether every change is in place; if so, all of them are collected."""
        native = is_native(self._store.family)
        for name in sorted(changes):
            node = changes[name]
            found = await old.locate(check_name(name)) if node is not None else None
            if node is None or found is None:
                return False
            number, block, position = found
            record = unpack_record(block.record(position))
            if not native and (record.extra is None or block.magic != MAGIC):
                return False  # not of our writing, perhaps not in our order
            offset, length = block.slots[position]
            slot = record.entry.entry
            packed = self._pack(name, node, slot)
            count = slot_count(self._store.family, node)
            if len(packed) != length or not self._same_slots(record, slot, count):
                return False
            patched = self._meta_blocks.setdefault(number, bytearray(block.data))
            patched[offset : offset + length] = packed
            if record.slots:
                await self._patch_slots(slot, slot_entries(sink, node))
            if len(self._meta_blocks) + len(self._leaves) > _PATCHES_MAX:
                return False
        return True

    def _same_slots(self, record: Record, first: int, count: int) -> bool:
        """Tell whether a node of `count` slots can have those of `record`: in a row, and there."""
        slots = [slot for slot, _ in record.slots]
        end = tree_slot_count(self._store.family, self._source)
        return slots == list(range(first, first + count)) and first + count <= end

    async def _patch_slots(self, first: int, entries: list[Entry]) -> None:
        size, room = self._entry_size, self._entry_size * self._per_leaf
        for slot, entry in enumerate(entries, first):
            number, index = divmod(slot, self._per_leaf)
            if number not in self._leaves:
                (leaf,) = await read_blocks(self._store, self._source, number, 1)
                self._leaves[number] = bytearray(leaf[:room].ljust(room, b"\0"))
            packed = pack_entry(self._store.family, entry)
            self._leaves[number][index * size : (index + 1) * size] = packed

    async def apply(self, sink: BlockSink) -> tuple[Entry, Entry]:
        source, meta = self._source, self._meta
        leaves, blocks = sorted(self._leaves.items()), sorted(self._meta_blocks.items())
        return (
            await update(self._store, sink, source, leaves, size=source.size),
            await update(self._store, sink, meta, blocks, size=meta.size),
        )
