"""Names alone, from a peer's log: those whose blocks are here become visible, the others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from replicator.ends import End, LocalLog
from venti_store.names.interfaces import NameBook, State, Verdict

ENTRIES_AT_ONCE: Final = 4096  # of a log far away, blocks without their bytes
NAMES_AT_ONCE: Final = 256  # taken with one sync


async def copy_names(source: End, book: NameBook, tell: Callable[[list[Verdict]], None]) -> None:
    """Give `book` every name record of `source`, then again what waits; tell what became of them.

    Blocks are not carried. Nothing of it is undone by an interruption, and running it again takes
    only what is new. Raises as the two ends do, StoreError for a peer without a log.
    """
    batch: list[bytes] = []
    async for record in _records(source):
        batch.append(record)
        if len(batch) == NAMES_AT_ONCE:
            tell(await book.take(batch))
            batch = []
    if batch:
        tell(await book.take(batch))
    tell([verdict for verdict in await book.retry() if verdict.state is State.RECORDED])


async def _records(source: End) -> AsyncIterator[bytes]:
    if isinstance(source, LocalLog):
        for record in source.store.names():
            yield record.data
        return
    last = (await source.about()).last
    number = 1
    while number <= last:
        entries = await source.read(number, ENTRIES_AT_ONCE, None, 0)
        if not entries:
            return
        for entry in entries:
            if entry.kind is None and entry.data:
                yield bytes(entry.data)
        number = entries[-1].number + 1
