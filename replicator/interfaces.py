"""What replication needs of the two ends, and of the names that it carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from venti_store.interfaces import Block, Key, LogRecord
from venti_store.score import Buffer, Family, Score


class About(NamedTuple):
    """Which store it is, and where its log ends. `last` is 0 when it is empty."""

    store_id: str
    last: int


class Source(Protocol):
    """The log that is followed, and the blocks it speaks of."""

    name: str  # for people
    family: Family

    async def about(self) -> About: ...

    async def read(
        self, start: int, count: int, before: Score | None, wait_seconds: float
    ) -> list[LogRecord]:
        """Return up to `count` entries from number `start` on; blocks without their bytes.

        Waits that long for the first. LogDiverged if the entry before has not the score `before`.
        """
        ...

    async def get_many(self, keys: Sequence[Key], sizes_max: Mapping[Key, int]) -> list[bytes]:
        """Return verified blocks; raises for the first that fails, as BlockReader does.

        What comes from far away has no block larger than `sizes_max` says of it: that is a breach
        of the protocol, noticed before more is held.
        """
        ...


class Destination(Protocol):
    """The store that gets what the log speaks of."""

    family: Family

    async def have_many(self, keys: Sequence[Key]) -> list[bool]: ...

    async def put_many(self, blocks: Sequence[Block]) -> None: ...

    async def sync(self) -> None: ...

    async def append_names(self, records: Sequence[Buffer]) -> list[int]:
        """Append name records in this order and sync; one that is there stays where it is."""
        ...


@runtime_checkable
class KnowsNames(Protocol):
    """An optional power of destinations: names that are there need no judging and no sync."""

    async def have_names(self, scores: Sequence[Score]) -> list[bool]: ...


@dataclass(frozen=True, slots=True)
class Named:
    """What a name record says, as far as replication cares; `root` is None of forgets and shares."""

    label: str
    root: Score | None


class NameRules(Protocol):
    """Reads name records, whose bytes are opaque here."""

    def __call__(self, record: bytes) -> Named:
        """Return what the record says; a SpawngridError says why it is not to be trusted."""
        ...


class SignerRules(NameRules, Protocol):
    """NameRules that go by who signed a record."""

    def accepts(self) -> str:
        """Return a digest of whose records are trusted now: another one when others are."""
        ...
