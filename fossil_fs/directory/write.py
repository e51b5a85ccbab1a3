"""Writing a directory: the same entries give the same bytes, whatever was there before.

Names ascend; slots of the source are used in that order; meta blocks are filled in order.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from fossil_fs.format.metablock import Packer
from fossil_fs.format.names import check_name, show_name
from fossil_fs.node import Node
from fossil_fs.record import (
    device_text,
    is_native,
    pack_record,
    slot_count,
    stream_sizes,
    to_entries,
)
from lib9.errors import UsageError
from venti_store.hashtree.build import TreeBuilder, build_tree
from venti_store.hashtree.entry import Entry, pack_entry
from venti_store.interfaces import BlockSink

FILL_PERCENT_CLASSIC: Final = (
    80  # fossil and vac leave that much room; fossil may edit our archives
)

PackRecord = Callable[[bytes, Node, int], bytes]


class NameTooLong(UsageError):
    """A name and what belongs to it do not fit in a block of a directory."""


class DirectoryWriter:
    """Takes names in ascending order, each with its node; `finish` gives source and meta stream.

    Blocks go to the sink as they fill.
    """

    def __init__(self, sink: BlockSink, pack: PackRecord | None = None) -> None:
        self._sink = sink
        self._family = sink.family
        self._native = is_native(sink.family)
        psize, dsize = stream_sizes(sink.family)
        self._source = TreeBuilder(sink, dsize=dsize, psize=psize, directory=True)
        self._meta = TreeBuilder(sink, dsize=dsize, psize=psize)
        self._packer = Packer(dsize, 100 if self._native else FILL_PERCENT_CLASSIC)
        self._pack = pack or self._pack_record
        self.slots = 0  # of the source that are taken
        self._before = b""

    def add(self, name: bytes, node: Node) -> None:
        """Take the next name; BadTree for one no file may have, ValueError for one out of order."""
        record = self._pack(name, node, self.slots)
        self.add_packed(name, record, b"", 0)
        if slot_count(self._family, node):
            entries = slot_entries(self._sink, node)
            self.slots += len(entries)
            self._source.write(b"".join([pack_entry(self._family, entry) for entry in entries]))

    def add_packed(self, name: bytes, record: bytes, packed_slots: bytes, count: int) -> None:
        """Take the next name as its bytes: the record for slots from `slots` on, and their entries."""
        if check_name(name) <= self._before:
            raise ValueError(f"{name!r} after {self._before!r}")
        self._before = name
        try:
            full = self._packer.add(record)
        except ValueError as error:
            raise NameTooLong(f"{show_name(name)}: {error}") from error
        if full is not None:
            self._meta.write_block(full)
        if count:
            self.slots += count
            self._source.write(packed_slots)

    def finish(self) -> tuple[Entry, Entry]:
        """Write what is left and return (source, meta); the writer is used up."""
        last = self._packer.finish()
        if last is not None:
            self._meta.write_block(last)
        return self._source.finish(), self._meta.finish()

    def _pack_record(self, name: bytes, node: Node, slot: int) -> bytes:
        return pack_record(self._family, name, node, slot)


def slot_entries(sink: BlockSink, node: Node) -> list[Entry]:
    """Return the entries for `node`'s slots; a classic device's content goes to the sink."""
    if node.rdev and not is_native(sink.family):
        psize, dsize = stream_sizes(sink.family)
        node = replace(node, content=build_tree(sink, device_text(node), dsize=dsize, psize=psize))
    entries = to_entries(sink.family, node)
    return [replace(entry, gen=0) if entry.gen else entry for entry in entries]


def write_directory(sink: BlockSink, entries: Iterable[tuple[bytes, Node]]) -> tuple[Entry, Entry]:
    """Write a directory of `entries`, which ascend by name, and return (source, meta).

    The sink's owner makes the blocks durable. Raises as `DirectoryWriter.add`.
    """
    writer = DirectoryWriter(sink)
    for name, node in entries:
        writer.add(name, node)
    return writer.finish()
