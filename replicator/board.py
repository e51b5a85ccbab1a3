"""What the links of one daemon tell each other: who is there, who holds what, what has come in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from venti_store.halving import GetMany
from venti_store.interfaces import BlockReader, LogRecord
from venti_store.kind import Kind
from venti_store.score import Score

HELD_MAX: Final = 1 << 16  # scores of roots and names whose holders are remembered: about 16 MB

RootOf = Callable[[bytes], Score | None]


@dataclass(frozen=True, slots=True)
class _Arrival:
    peer: str
    store: BlockReader
    retry: Callable[[], None]


class _Holders:
    """Of the last HELD_MAX scores, who has them."""

    def __init__(self) -> None:
        self._by_score: OrderedDict[Score, set[str]] = OrderedDict()

    def add(self, score: Score, peer: str) -> None:
        self._by_score.setdefault(score, set()).add(peer)
        self._by_score.move_to_end(score)
        if len(self._by_score) > HELD_MAX:
            self._by_score.popitem(last=False)

    def of(self, score: Score) -> frozenset[str]:
        return frozenset(self._by_score.get(score, ()))


class Board:
    """Shared by all links of a daemon."""

    def __init__(self, root_of: RootOf = lambda _: None) -> None:
        """`root_of` says which root a name record names, None where it names none."""
        self._root_of = root_of
        self._links: dict[str, _Arrival] = {}
        self._holders = _Holders()  # of name records, and of roots that are whole there
        self._with_root = _Holders()  # of root blocks, whatever is below
        self._news = trio.Event()

    # who is there

    def arrived(self, link: str, peer: str, store: BlockReader, retry: Callable[[], None]) -> None:
        """Note that `link` is connected; `retry` is called when its holes might be filled."""
        self._links[link] = _Arrival(peer, store, retry)
        self.have_more(link)

    def left(self, link: str) -> None:
        self._links.pop(link, None)

    def others(self, link: str) -> Sequence[GetMany]:
        """Return how to ask the peers at the other links for blocks."""
        return [a.store.get_many for name, a in self._links.items() if name != link]

    def peer_store(self, peer: str) -> BlockReader | None:
        """Return a store of `peer` that is connected now."""
        return next((a.store for a in self._links.values() if a.peer == peer), None)

    def have_more(self, link: str) -> None:
        """Tell the other links that there are blocks, or somebody to ask, that were not before."""
        for name, arrival in self._links.items():
            if name != link:
                arrival.retry()

    # who holds what

    def seen_at(self, peer: str, records: Sequence[LogRecord]) -> None:
        """Note that the log of `peer` has these entries."""
        for record in records:
            if record.kind is Kind.ROOT:
                self._with_root.add(record.score, peer)
            elif record.kind is None and not record.damaged:
                self._holders.add(record.score, peer)
                root = self._root_of(record.data)
                if root is not None:
                    self._holders.add(root, peer)
        if records:
            self._tell()

    def note_holder(self, peer: str, score: Score) -> None:
        """Note that all below the root `score` is at `peer`."""
        self._holders.add(score, peer)

    def holders(self, score: Score) -> frozenset[str]:
        """Return the peers that have this name record, or all of this root."""
        return self._holders.of(score)

    def with_root(self, score: Score) -> frozenset[str]:
        """Return the peers that have this root's own block."""
        return self._with_root.of(score)

    def news(self) -> trio.Event:
        """Return an event that is set when more is seen somewhere."""
        return self._news

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()
