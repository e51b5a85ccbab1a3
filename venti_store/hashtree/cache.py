"""Pointer blocks, and leaves of directories, read before: bounded, least recently used first out."""

from typing import Final

from venti_store.score import Score

CACHE_SIZE: Final = 4 << 20  # bytes: 512 pointer blocks, the leaves of 8 GiB


class PointerCache:
    """Keeps verified blocks by score, at most `size_max` bytes of them."""

    def __init__(self, size_max: int = CACHE_SIZE) -> None:
        self.size_max = size_max
        self.size = 0
        self.hits = 0
        self.misses = 0
        self._blocks: dict[Score, bytes] = {}  # in the order of use

    def get(self, score: Score) -> bytes | None:
        block = self._blocks.pop(score, None)
        if block is None:
            self.misses += 1
        else:
            self.hits += 1
            self._blocks[score] = block
        return block

    def put(self, score: Score, block: bytes) -> None:
        if score in self._blocks or len(block) > self.size_max:
            return
        self._blocks[score] = block
        self.size += len(block)
        while self.size > self.size_max:
            self.size -= len(self._blocks.pop(next(iter(self._blocks))))
