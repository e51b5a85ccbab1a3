"""Metadata ahead of its readers, breadth first, so that the delay to a far store is paid once a level.

Whoever walks a tree asks for one directory after the other, and each would wait a round trip. When
a directory's block is read, what is known of the directories below it is fetched in the background:
their streams and their metadata, some levels deep, in batches. File contents are left alone.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple

import trio

from lib9.errors import SpawngridError
from venti_store.hashtree.children import Ref, children, entry_ref, root_ref
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.slots import unpack_leaf
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.score import Buffer, Family

LEVELS_MAX: Final = 3  # directories below the one that was read
BATCH_MAX: Final = 128  # blocks in one request to the store
WAITING_MAX: Final = 4096  # blocks wanted; beyond it the later ones are left to their readers
SEEN_MAX: Final = 16384  # blocks that were looked at, and need not be again
META_SIZE_MAX: Final = 1 << 20  # bytes of a directory's metadata that are fetched ahead
DSIZE: Final = 8192  # of directory blocks, where nothing says it

Fetch = Callable[[Sequence[Key]], Awaitable[dict[Key, bytes]]]
log = logging.getLogger("venti")


class _Wanted(NamedTuple):
    ref: Ref
    levels: int  # of directories that may still be entered below


class Prefetcher:
    """Looks at blocks as they are read, and fetches what their readers will want next."""

    def __init__(self, family: Family, fetch: Fetch) -> None:
        """`fetch` returns those of the blocks that can be had, and keeps them near."""
        self._family = family
        self._fetch = fetch
        self._waiting: deque[_Wanted] = deque()
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._scope: trio.CancelScope | None = None

    def look(self, key: Key, block: Buffer) -> None:
        """Take note of a block that was read; starts to fetch in the background."""
        if key.kind not in (Kind.DIRECTORY, Kind.ROOT):
            return
        if key.kind is Kind.ROOT:
            ref = root_ref(self._family, key.score)
        else:
            ref = Ref(key, Kind.DIRECTORY, DSIZE, max(DSIZE, len(block)))
        self._want(_Wanted(ref, LEVELS_MAX), block)
        if self._waiting and self._scope is None:
            self._scope = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._run, self._scope, name="venti prefetch")

    def close(self) -> None:
        """Fetch no more."""
        self._waiting.clear()
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, scope: trio.CancelScope) -> None:
        try:
            with scope:
                while self._waiting:
                    count = min(BATCH_MAX, len(self._waiting))
                    batch = [self._waiting.popleft() for _ in range(count)]
                    found = await self._fetch([wanted.ref.key for wanted in batch])
                    for wanted in batch:
                        block = found.get(wanted.ref.key)
                        if block is not None:
                            self._want(wanted, block)
        except Exception:
            # nobody waits for this: whoever needs a block asks for it again
            log.exception("fetching ahead failed")
        finally:
            self._scope = None

    def _want(self, wanted: _Wanted, block: Buffer) -> None:
        """Queue what is below a block that is here."""
        if not self._is_new(wanted.ref.key):
            return
        try:
            for ref, levels in self._below(wanted, block):
                if len(self._waiting) >= WAITING_MAX:
                    return
                if ref.key not in self._seen and not self._family.is_nothing(ref.key.score):
                    self._waiting.append(_Wanted(ref, levels))
        except SpawngridError:
            return  # a block that makes no sense is its reader's to complain of

    def _below(self, wanted: _Wanted, block: Buffer) -> Iterator[tuple[Ref, int]]:
        ref, levels = wanted
        if ref.key.kind is Kind.DIRECTORY:
            if levels:
                for entry in _metadata(unpack_leaf(self._family, block, ref.dsize)):
                    yield entry_ref(entry), levels - 1
        elif ref.key.kind is not Kind.DATA:
            for child in children(self._family, ref, block):
                yield child, levels

    def _is_new(self, key: Key) -> bool:
        new = key not in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return new


def _metadata(entries: Iterator[Entry | None]) -> Iterator[Entry]:
    """Give directories, and the stream in the slot behind each, which is its metadata."""
    behind_directory = False
    for entry in entries:
        if entry is not None and (
            entry.directory or (behind_directory and entry.size <= META_SIZE_MAX)
        ):
            yield entry
        behind_directory = entry is not None and entry.directory
