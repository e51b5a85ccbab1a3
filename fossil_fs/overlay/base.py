"""Reading the base: blocks come when they are touched, and what cannot be had is EIO, once logged.

A fault that a far store does not answer within the deadline is EIO too; the next try asks again.
"""

import logging
import sys
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import aclosing
from errno import EIO
from typing import Any, Final, NamedTuple, TypeVar

from fossil_fs.directory import Directory
from fossil_fs.format.names import show_name
from fossil_fs.format.xattrs import STREAM_MAX, Xattrs, unpack_xattrs
from fossil_fs.links import Links
from fossil_fs.node import NO_OWNERS, Node, Owners
from lib9.errors import SpawngridError
from lib9.waiting import in_trio
from venti_store.errors import BadTree
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.read import leaf_keys, read_blocks
from venti_store.interfaces import AtOnce, BlockStore
from venti_store.score import Score

FAULT_SECONDS_MAX: Final = 60.0  # a read that waits longer for a far store fails
DIRECTORIES_MAX: Final = 64  # directories whose first names are remembered
FOUND_MAX: Final = 512  # lookups remembered: one request often follows another for the same name
BATCH_MIN: Final = 256  # names that are read together, where there are so many
TOLD_MAX: Final = 256  # messages that are not logged again and again
_ZEROS: Final = memoryview(bytes(1 << 20))

T = TypeVar("T")
Part = bytes | memoryview

log = logging.getLogger(__name__)


StreamsKey = tuple[Score | None, Score | None, int]


class Streams(NamedTuple):
    """What the base has of a directory; `offset` is added to its qids."""

    source: Entry | None
    meta: Entry | None
    offset: int

    @property
    def key(self) -> StreamsKey:
        """What tells it from others; cheap to hash."""
        source, meta = self.source, self.meta
        return source.score if source else None, meta.score if meta else None, self.offset


def zeros(size: int) -> list[Part]:
    """Return `size` zero bytes in parts."""
    parts: list[Part] = []
    while size > 0:
        parts.append(_ZEROS[:size])
        size -= len(_ZEROS)
    return parts


class Base:
    """The tree below a mount. `links` is that of the present base."""

    def __init__(
        self,
        store: BlockStore,
        *,
        owners: Owners = NO_OWNERS,
        fault_seconds: float = FAULT_SECONDS_MAX,
    ) -> None:
        self.store = store
        self.family = store.family
        self.cache = PointerCache()
        self.links: Links | None = None
        self.owners = owners
        self._seconds = fault_seconds
        self._at_once = isinstance(store, AtOnce) and store.at_once
        self._directories: OrderedDict[StreamsKey, Directory] = OrderedDict()
        self._found: dict[tuple[StreamsKey, bytes], Node | None] = {}
        self._told: OrderedDict[str, None] = OrderedDict()
        self.faults_failed = 0

    def another(self) -> "Base":
        """Return what reads another root of the same store."""
        return Base(self.store, owners=self.owners, fault_seconds=self._seconds)

    def use_links(self, streams: tuple[Entry, Entry] | None) -> None:
        """Take other links streams; directories resolve linked names through them from now on."""
        self.links = Links(self.store, *streams, report=self.report) if streams else None
        self._directories.clear()
        self._found.clear()

    async def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a read of the base gives; OSError EIO if it fails or takes too long."""
        try:
            if self._at_once or not in_trio():
                return await coroutine
            import trio

            with trio.fail_after(self._seconds):
                return await coroutine
        except SpawngridError as error:
            self._tell(str(error))
        except OSError as error:
            self._tell(f"store: {error}")
        except _too_slow() as error:
            self._tell(f"store: no answer within {self._seconds:g} s ({error})")
        self.faults_failed += 1
        raise OSError(EIO, "a block of the base could not be read")

    def report(self, name: bytes, error: BadTree) -> None:
        """Log a name that makes no sense; the rest of its directory can be used."""
        self._tell(f"{show_name(name)}: left out: {error}")

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told[message] = None
            if len(self._told) > TOLD_MAX:
                self._told.popitem(last=False)
            log.error("%s", message)

    def directory(self, streams: Streams) -> Directory:
        key = streams.key
        directory = self._directories.get(key)
        if directory is None:
            directory = Directory(
                self.store,
                streams.source,
                streams.meta,
                self.links,
                owners=self.owners,
                qid_offset=streams.offset,
                report=self.report,
                cache=self.cache,
            )
            self._directories[key] = directory
            if len(self._directories) > DIRECTORIES_MAX:
                self._directories.popitem(last=False)
        self._directories.move_to_end(key)
        return directory

    async def lookup(self, streams: Streams, name: bytes) -> Node | None:
        if streams.meta is None or not streams.meta.size:
            return None
        place = streams.key, name
        if place in self._found:
            return self._found[place]
        node = await self.wait(self.directory(streams).lookup(name))
        if len(self._found) >= FOUND_MAX:
            self._found.clear()
        self._found[place] = node
        return node

    async def entries(
        self, streams: Streams, after: bytes
    ) -> tuple[list[tuple[bytes, Node]], bool]:
        """Return some names behind `after` in order, and whether those are all there are."""

        async def enough() -> tuple[list[tuple[bytes, Node]], bool]:
            found: list[tuple[bytes, Node]] = []
            async with aclosing(self.directory(streams).entries(after)) as batches:
                async for batch in batches:
                    found += batch
                    if len(found) >= BATCH_MIN:
                        return found, False
            return found, True

        return await self.wait(enough())

    async def read(self, entry: Entry, offset: int, size: int) -> list[Part]:
        """Return exactly `size` bytes in parts; zeros beyond the stream's end."""
        dsize = entry.dsize
        first = offset // dsize
        count = (offset + size - 1) // dsize - first + 1
        blocks = await self.wait(read_blocks(self.store, entry, first, count, self.cache))
        end = offset + size
        parts: list[Part] = []
        for number, block in enumerate(blocks, first):
            start, stop = max(offset - number * dsize, 0), min(end - number * dsize, dsize)
            held = min(len(block), stop)
            if start < held:
                whole = start == 0 and held == len(block)
                parts.append(block if whole else memoryview(block)[start:held])
            if stop > max(start, held):
                parts += zeros(stop - max(start, held))
        return parts

    async def is_data(self, entry: Entry, first: int, count: int) -> list[bool]:
        """Tell of leaves whether they are anything but zeros."""
        keys = await self.wait(leaf_keys(self.store, entry, first, count, self.cache))
        return [key is not None for key in keys]

    async def xattrs(self, entry: Entry) -> Xattrs:
        """Return the extended attributes in a stream."""
        if entry.size > STREAM_MAX:
            self._tell(f"{entry.score.hex()}: {entry.size} bytes of extended attributes")
            raise OSError(EIO, "extended attributes")
        data = b"".join(await self.read(entry, 0, entry.size)) if entry.size else b""
        try:
            return unpack_xattrs(data)
        except BadTree as error:
            self._tell(f"{entry.score.hex()}: {error}")
            raise OSError(EIO, "extended attributes") from error


def _too_slow() -> tuple[type[BaseException], ...]:
    trio = sys.modules.get("trio")
    return () if trio is None else (trio.TooSlowError,)
