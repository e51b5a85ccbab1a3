"""Changing a directory: where only nodes change, only the blocks they are in are read and written.

The result is what `write_directory` makes of the same entries, if that made the old directory. A
record that keeps its length and its slots keeps its place, so its block and its entries can be
patched; anything else moves what follows, and the whole directory is written anew.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from fossil_fs.directory.read import Directory, Report
from fossil_fs.directory.write import DirectoryWriter, PackRecord
from fossil_fs.node import Node
from fossil_fs.record import pack_record
from venti_store.hashtree.entry import Entry
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
    writer = DirectoryWriter(sink, pack)
    async for name, node in _merged(old, changes):
        writer.add(name, node)
    return writer.finish()


async def _merged(old: Directory, changes: Changes) -> AsyncIterator[tuple[bytes, Node]]:
    names = iter(sorted(changes))
    pending = next(names, None)
    async for batch in old.entries():
        for name, node in batch:
            while pending is not None and pending < name:
                changed = changes[pending]
                if changed is not None:
                    yield pending, changed
                pending = next(names, None)
            if pending != name:
                yield name, node
                continue
            changed = changes[name]
            if changed is not None:
                yield name, changed
            pending = next(names, None)
    while pending is not None:
        changed = changes[pending]
        if changed is not None:
            yield pending, changed
        pending = next(names, None)
