"""Reading a directory: one name by bisection, or all of them in order.

In our own trees names ascend over all blocks of the meta stream, so that a lookup reads a number
of blocks that grows with the logarithm of the directory. In classic archives the order is tried
first: what it finds is right in any case, and only what it does not find needs the index.
"""

import stat
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, Protocol

from fossil_fs.directory.index import Index, build_index
from fossil_fs.directory.meta import MetaStream
from fossil_fs.format.direntry import record_name
from fossil_fs.format.metablock import MetaBlock
from fossil_fs.format.names import check_name, show_name
from fossil_fs.node import NO_OWNERS, Node, Owners
from fossil_fs.record import (
    DEVICE_TEXT_MAX,
    Record,
    is_native,
    parse_device,
    to_node,
    unpack_record,
)
from venti_store.errors import BadTree
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry, entry_size
from venti_store.hashtree.read import read
from venti_store.hashtree.shape import slots_per_leaf
from venti_store.hashtree.slots import read_slots, slot_count
from venti_store.interfaces import BlockReader

Report = Callable[[bytes, BadTree], None]  # told of a bad name, b"" where not even that is known

REPORTS_MAX: Final = 1000  # bad records of one directory; with more it is all bad
_POINTERS_SIZE: Final = 64 << 10  # bytes of pointer blocks kept for a directory of its own
_BLOCKS_AT_ONCE: Final = 8  # of the meta stream, when all names are wanted: about 640 names
_NAMES_AT_ONCE: Final = 128  # from the index, which may lie in as many blocks


class LinkResolver(Protocol):
    """Knows the inodes that have several names (fossil_fs.links.Links)."""

    async def resolve(self, stub: Node) -> Node: ...


class Directory:
    """A directory of any archive. `source` and `meta` are its streams, None where it is empty.

    `links` resolves names of linked inodes; without it they give stubs (`Node.link`). `owners`
    gives numbers to owners' names. Bad records are left out of listings and told to `report`;
    without `report` they raise BadTree. All methods raise as the store does, and BadTree.
    """

    def __init__(
        self,
        store: BlockReader,
        source: Entry | None,
        meta: Entry | None,
        links: LinkResolver | None = None,
        *,
        owners: Owners = NO_OWNERS,
        qid_offset: int = 0,
        report: Report | None = None,
        cache: PointerCache | None = None,
    ) -> None:
        if source is not None and not source.directory:
            raise BadTree(f"{source.score.hex()}: not a directory")
        self._store = store
        self._source = source
        self._cache = PointerCache(_POINTERS_SIZE) if cache is None else cache
        self._shared_cache = cache
        self._meta = MetaStream(store, meta, self._cache)
        self._links = links
        self._owners = owners
        self._qid_offset = qid_offset
        self._report = report
        self._native = is_native(store.family)
        self._index: Index | None = None
        self._reports = 0

    def child(self, node: Node) -> "Directory":
        """Return the directory that `node`, found in this one, is."""
        if not node.is_dir:
            raise BadTree("not a directory")
        return Directory(
            self._store,
            node.content,
            node.meta,
            self._links,
            owners=self._owners,
            qid_offset=(self._qid_offset + node.qid_offset) & (2**64 - 1),
            report=self._report,
            cache=self._shared_cache,
        )

    async def lookup(self, name: bytes) -> Node | None:
        """Return what `name` is, None if it is not here; BadTree if its record makes no sense."""
        found = await self.locate(name)
        if found is None:
            return None
        _, block, position = found
        record = unpack_record(block.record(position))
        return (await self._nodes([record], strict=True))[0][1]

    async def entries(self, after: bytes = b"") -> AsyncGenerator[list[tuple[bytes, Node]], None]:
        """Give the names above `after` with their nodes, ascending, in batches of some hundreds."""
        walk = self._in_order(after) if self._native else self._by_index(after)
        async with aclosing(walk):  # the caller may stop anywhere
            async for records in walk:
                nodes = await self._nodes(records)
                if nodes:
                    yield nodes

    async def locate(self, name: bytes) -> tuple[int, MetaBlock, int] | None:
        """Return where a name's record is: number of the block, the block, position in its index."""
        if not self._meta.count:
            return None
        if self._index is None:
            found = await self._bisect(name)
            if found is not None or self._native or self._meta.count == 1:
                return found
        place = (await self._get_index()).places.get(name)
        if place is None:
            return None
        return place[0], await self._meta.block(place[0]), place[1]

    async def _bisect(self, name: bytes) -> tuple[int, MetaBlock, int] | None:
        try:
            number = await self._meta.place(name)
        except BadTree:
            if self._native:
                raise
            return None
        block = await self._meta.block(number)
        position: int | None
        if self._native:
            position = block.bisect(name)
            if position == len(block.slots) or block.name(position) != name:
                position = None
        else:
            position = block.find(name)
        return None if position is None else (number, block, position)

    async def _get_index(self) -> Index:
        if self._index is None:
            self._index = await build_index(self._meta, self._bad)
        return self._index

    def _bad(self, name: bytes, error: BadTree) -> None:
        self._reports += 1
        if self._report is None or self._reports > REPORTS_MAX:
            raise BadTree(f"{show_name(name)}: {error}") from error
        self._report(name, error)

    async def records(self, after: bytes = b"") -> AsyncGenerator[list[tuple[bytes, bytes]], None]:
        """Give the names above `after` and their records as bytes; BadTree if they do not ascend.

        For native trees: those of others have no order. A bad name is told to `report`.
        """
        if not self._meta.count:
            return
        number = await self._meta.place(after)
        before, at_once = b"", 1
        while number < self._meta.count:
            records: list[tuple[bytes, bytes]] = []
            for block in await self._meta.blocks(number, at_once):
                start = block.bisect(after) if not before else 0
                for position in range(start, len(block.slots)):
                    record = block.record(position)
                    name = record_name(record)
                    if name <= before:
                        raise BadTree(f"{show_name(name)}: not in the directory's order")
                    before = name
                    if name > after:
                        try:
                            records.append((check_name(name), record))
                        except BadTree as error:
                            self._bad(name, error)
            yield records
            number, at_once = number + at_once, _BLOCKS_AT_ONCE

    async def decode(self, named: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, Node]]:
        """Return the nodes of records of this directory; the bad ones are left out and reported."""
        return await self._nodes(self._unpack(named))

    async def _in_order(self, after: bytes) -> AsyncGenerator[list[Record], None]:
        async with aclosing(self.records(after)) as batches:
            async for named in batches:
                yield self._unpack(named)

    def _unpack(self, named: Iterable[tuple[bytes, bytes]]) -> list[Record]:
        records = []
        for name, record in named:
            try:
                records.append(unpack_record(record))
            except BadTree as error:
                self._bad(name, error)
        return records

    async def _by_index(self, after: bytes) -> AsyncGenerator[list[Record], None]:
        index = await self._get_index()
        start = bisect_right(index.names, after)
        for first in range(start, len(index.names), _NAMES_AT_ONCE):
            named = []
            for name in index.names[first : first + _NAMES_AT_ONCE]:
                number, position = index.places[name]
                named.append((name, (await self._meta.block(number)).record(position)))
            yield self._unpack(named)

    async def _nodes(
        self, records: Sequence[Record], *, strict: bool = False
    ) -> list[tuple[bytes, Node]]:
        """Return the nodes of `records`, all their slots read at once; the bad ones are left out."""
        streams = await self._streams({slot for record in records for slot, _ in record.slots})
        nodes = []
        for record in records:
            name = record.entry.elem
            try:
                entries = [streams.get(slot) for slot, _ in record.slots]
                node = to_node(record, entries, self._owners, self._qid_offset)
                nodes.append((name, await self._resolve(node)))
            except BadTree as error:
                if strict:
                    raise
                self._bad(name, error)
        return nodes

    async def _streams(self, slots: set[int]) -> dict[int, Entry | None]:
        """Return the entries in `slots`, read in runs of neighbouring leaves of the source."""
        source, streams = self._source, dict[int, Entry | None]()
        if source is None or not slots:
            return streams
        end = slot_count(self._store.family, source)
        per_leaf = slots_per_leaf(source.dsize, entry_size(self._store.family))
        ordered = sorted(slot for slot in slots if slot < end)
        while ordered:
            last = 0
            while last + 1 < len(ordered) and ordered[last + 1] - ordered[last] < per_leaf:
                last += 1
            first, count = ordered[0], ordered[last] - ordered[0] + 1
            found = await read_slots(self._store, source, first, count, self._cache)
            streams.update({slot: found[slot - first] for slot in ordered[: last + 1]})
            ordered = ordered[last + 1 :]
        return streams

    async def _resolve(self, node: Node) -> Node:
        """Return `node` with what is kept elsewhere: a linked inode, the number of a classic device."""
        if node.link is not None:
            if not self._native:
                raise BadTree(f"link {node.link:x} in a classic tree")
            return await self._links.resolve(node) if self._links is not None else node
        if node.content is not None and (stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode)):
            text = await read(self._store, node.content, 0, DEVICE_TEXT_MAX)
            kind, rdev = parse_device(text)
            mode = kind | stat.S_IMODE(node.mode)
            return replace(node, mode=mode, rdev=rdev, content=None)
        return node
