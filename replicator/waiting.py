"""Whether a peer holds all of a root: by a name it has, else by asking it for what may be missing."""

from __future__ import annotations

from collections.abc import Sequence

from lib9.errors import SpawngridError
from replicator.board import Board
from venti_store.errors import NoSuchBlock
from venti_store.hashtree.closure import holes_below
from venti_store.interfaces import BlockReader, Key
from venti_store.score import Score


class _HeldThere:
    """Blocks as they are here, but only those that the peer says it has."""

    def __init__(self, here: BlockReader, there: BlockReader) -> None:
        self._here, self._there, self.family = here, there, here.family

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        for key, has in zip(keys, await self._there.have_many(keys), strict=True):
            if not has:
                raise NoSuchBlock(f"{key.score.hex()}: not there")
        return await self._here.get_many(keys)

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        return await self._there.have_many(keys)


class Replicas:
    """Counts the peers that hold a root."""

    def __init__(self, here: BlockReader, board: Board) -> None:
        self._here, self._board = here, board
        self._whole: dict[str, Score] = {}  # of each peer, the last root found whole there

    async def wait(self, score: Score, count: int) -> int:
        """Return how many peers hold the root or the name record `score`, once that is `count`."""
        while True:
            news = self._board.news()
            held = set(self._board.holders(score))
            for peer in self._board.with_root(score) - held:
                if await self._is_whole_at(peer, score):
                    held.add(peer)
                    self._board.note_holder(peer, score)
            if len(held) >= count:
                return len(held)
            await news.wait()

    async def _is_whole_at(self, peer: str, score: Score) -> bool:
        there = self._board.peer_store(peer)
        if there is None:
            return False
        before = [self._whole[peer]] if peer in self._whole else []
        try:
            whole = not await holes_below(_HeldThere(self._here, there), score, before)
        except SpawngridError:
            return False
        if whole:
            self._whole[peer] = score
        return whole
