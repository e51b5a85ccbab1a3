"""What the links of one daemon tell each other: who is there, who holds what, what has come in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import trio

from replicator.fetching import GetMany
from venti_store.interfaces import BlockReader, LogRecord
from venti_store.kind import Kind
from venti_store.score import Score

HELD_MAX: Final = 1 << 16  # scores of roots and names whose holders are remembered: about 16 MB


class Board:
    """Shared by all links of a daemon."""

    def __init__(self) -> None:
        self._peers: dict[str, BlockReader] = {}
        self._holders: OrderedDict[Score, set[str]] = OrderedDict()
        self._news = trio.Event()
        self._retries: dict[str, Callable[[], None]] = {}

    # who is there

    def arrived(self, link: str, store: BlockReader, retry: Callable[[], None]) -> None:
        """Note that `link` has a connection; `retry` is called when its holes might be filled."""
        self._peers[link] = store
        self._retries[link] = retry
        self.have_more(link)

    def left(self, link: str) -> None:
        self._peers.pop(link, None)
        self._retries.pop(link, None)

    def others(self, link: str) -> Sequence[GetMany]:
        """Return how to ask the peers at the other links for blocks."""
        return [store.get_many for name, store in self._peers.items() if name != link]

    def peer(self, link: str) -> BlockReader | None:
        return self._peers.get(link)

    def have_more(self, link: str) -> None:
        """Tell the other links that there are blocks, or somebody to ask, that were not before."""
        for name, retry in self._retries.items():
            if name != link:
                retry()

    # who holds what

    def seen_at(self, peer: str, records: Sequence[LogRecord]) -> None:
        """Note that the log of `peer` has these entries."""
        for record in records:
            if record.kind in (None, Kind.ROOT) and any(record.score):
                self._holders.setdefault(record.score, set()).add(peer)
                self._holders.move_to_end(record.score)
        while len(self._holders) > HELD_MAX:
            self._holders.popitem(last=False)
        self._news.set()
        self._news = trio.Event()

    def holders(self, score: Score) -> frozenset[str]:
        """Return the peers in whose log the root or name record `score` was seen."""
        return frozenset(self._holders.get(score, ()))

    async def news(self) -> None:
        """Wait until more was seen somewhere."""
        await self._news.wait()
