"""The two ends of following: stores on this machine and far away, as sources of their logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast

import trio

from replicator.interfaces import About
from venti_store.errors import StoreError
from venti_store.interfaces import BlockStore, Key, LogRecord
from venti_store.listing import Log, check_before, listed
from venti_store.score import Buffer, Score
from venti_store.stores.remote import RemoteStore


class LocalStore(BlockStore, Log, Protocol):
    """A store that is read without waiting, and keeps a log."""

    store_id: str

    def names(self, start: int = 1) -> Iterator[LogRecord]: ...

    async def append_names(self, records: Sequence[Buffer]) -> list[int]: ...


class LocalLog:
    """The log of a store on this machine, as a Source."""

    def __init__(self, store: LocalStore, name: str = "here") -> None:
        self.store, self.name, self.family = store, name, store.family

    async def about(self) -> About:
        return About(self.store.store_id, self.store.last_number())

    async def read(
        self, start: int, count: int, before: Score | None, wait_seconds: float
    ) -> list[LogRecord]:
        if before is not None:
            check_before(self.store, start, before)
        if wait_seconds:
            with trio.move_on_after(wait_seconds):
                await self.store.wait_log(start)
        return list(listed(self.store, start, count, contents=False))

    async def get_many(self, keys: Sequence[Key], sizes_max: Mapping[Key, int]) -> list[bytes]:
        return await self.store.get_many(keys)  # our own log says how large they are


class RemoteLog:
    """The log of a store far away, as a Source."""

    def __init__(self, store: RemoteStore) -> None:
        self.store, self.name, self.family = store, store.name, store.family

    async def about(self) -> About:
        found = await self.store.statistics()
        return About(found.get("id", ""), int(found.get("last", "0")))

    async def read(
        self, start: int, count: int, before: Score | None, wait_seconds: float
    ) -> list[LogRecord]:
        return await self.store.read_log(
            start, count, before=before, contents=False, wait_seconds=wait_seconds
        )

    async def get_many(self, keys: Sequence[Key], sizes_max: Mapping[Key, int]) -> list[bytes]:
        return await self.store.get_many(keys, sizes_max)


class ClassicEnd:
    """A classic venti: it has no log, so all that is known of it is its address."""

    def __init__(self, store: RemoteStore) -> None:
        self.store, self.name, self.family = store, store.name, store.family

    async def about(self) -> About:
        return About(self.name, 0)

    async def read(
        self, start: int, count: int, before: Score | None, wait_seconds: float
    ) -> list[LogRecord]:
        raise StoreError(f"{self.name}: a classic venti has no log: name the roots to copy")

    async def get_many(self, keys: Sequence[Key], sizes_max: Mapping[Key, int]) -> list[bytes]:
        return await self.store.get_many(keys, sizes_max)


End = LocalLog | RemoteLog | ClassicEnd


def end_of(store: BlockStore, name: str) -> End:
    """Return the log of an open store; StoreError if it is of a kind that has none."""
    if isinstance(store, RemoteStore):
        return RemoteLog(store) if store.has_log else ClassicEnd(store)
    if isinstance(store, Log) and hasattr(store, "append_names"):
        return LocalLog(cast("LocalStore", store), name)
    raise StoreError(f"{name}: a store made of others has no log of its own")


async def mark_of(source: End) -> tuple[About, Score]:
    """Return which store it is, its last entry's number, and that entry's score (zeros: none)."""
    about = await source.about()
    nothing = Score(bytes(source.family.size))
    if not about.last:
        return about, nothing
    [last] = await source.read(about.last, 1, None, 0)
    return about, last.score


async def holds(source: End, number: int, score: Score) -> bool:
    """Tell whether the log still has an entry `number` with this score."""
    if not number:
        return True
    found = await source.read(number, 1, None, 0)
    return bool(found) and found[0].score == score
