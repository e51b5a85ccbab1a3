"""Hard links of native trees: inodes with several names, kept once, in streams of the root.

The links streams are a directory whose names are numbers (16 hex digits, so their order is that of
the numbers). A name refers to a number (`Node.link`); a change of the inode rewrites its record
and nothing else. The number is the inode's qid, so equal trees have equal links.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from fossil_fs.directory.edit import edit_streams
from fossil_fs.directory.read import Directory, Report
from fossil_fs.directory.write import DirectoryWriter, PackRecord
from fossil_fs.node import Node
from fossil_fs.record import pack_inode
from venti_store.errors import BadTree
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry
from venti_store.interfaces import BlockReader, BlockSink
from venti_store.score import Family

LinkChanges = Mapping[int, Node | None]  # number to the new inode; None: no name is left


class Links:
    """The linked inodes of a tree, by number."""

    def __init__(
        self,
        store: BlockReader,
        source: Entry,
        meta: Entry,
        *,
        report: Report | None = None,
        cache: PointerCache | None = None,
    ) -> None:
        self.source = source
        self.meta = meta
        self._directory = Directory(store, source, meta, report=report, cache=cache)

    async def lookup(self, number: int) -> Node | None:
        """Return the inode of this number, with `link` and `nlink`; None if there is none."""
        node = await self._directory.lookup(_name(number))
        if node is not None and node.link is not None:
            raise BadTree(f"link {number:x}: leads to another")
        return replace(node, link=number) if node is not None else None

    async def resolve(self, stub: Node) -> Node:
        """Return the inode that a name's `stub` refers to; BadTree if it is not there."""
        if stub.link is None:
            return stub
        node = await self.lookup(stub.link)
        if node is None or node.is_dir:
            raise BadTree(f"link {stub.link:x}: no such inode")
        return node

    async def entries(self) -> AsyncIterator[list[tuple[int, Node]]]:
        """Give all numbers and inodes, ascending, in batches."""
        async with aclosing(self._directory.entries()) as batches:
            async for batch in batches:
                numbered = map(_numbered, batch)
                yield [(number, replace(node, link=number)) for number, node in numbered]


def write_links(sink: BlockSink, inodes: Iterable[tuple[int, Node]]) -> tuple[Entry, Entry]:
    """Write links streams of `inodes`, which ascend by number, and return (source, meta)."""
    writer = DirectoryWriter(sink, _packer(sink.family))
    for number, node in inodes:
        writer.add(_name(number), replace(node, link=None))
    return writer.finish()


async def edit_links(
    store: BlockReader,
    sink: BlockSink,
    links: tuple[Entry, Entry] | None,
    changes: LinkChanges,
) -> tuple[Entry, Entry] | None:
    """Return links streams with `changes`, None if no inode is left; `links` None: there were none.

    Inodes that change and stay cost the blocks they are in, others a rewrite of all links.
    """
    source, meta = links or (None, None)
    named = {
        _name(number): replace(node, link=None) if node is not None else None
        for number, node in changes.items()
    }
    pair = await edit_streams(store, sink, source, meta, named, _packer(store.family))
    return pair if pair[1].size else None


def _packer(family: Family) -> PackRecord:
    def pack(name: bytes, node: Node, slot: int) -> bytes:
        return pack_inode(family, name, node, slot, nlink=node.nlink)

    return pack


def _name(number: int) -> bytes:
    return b"%016x" % number


def _numbered(item: tuple[bytes, Node]) -> tuple[int, Node]:
    try:
        return int(item[0], 16), item[1]
    except ValueError:
        raise BadTree(f"link {item[0]!r}: not a number") from None
