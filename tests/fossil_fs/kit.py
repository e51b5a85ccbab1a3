"""Stores and recorded archives for the tests of trees."""

import csv
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lib9.waiting import run_now
from venti_store.errors import NoSuchBlock
from venti_store.interfaces import Batch, Block, Key
from venti_store.kind import from_memory
from venti_store.score import SHA1, Family, Score, parse_score

T = TypeVar("T")
DATA = Path(__file__).parent.parent / "data"
ARCHIVES = DATA / "archives"
VAC = "99eb3c05e2fa684b4bc2c62ea11a63dbdf8de413"
VAC_A = "012dd9148bcc9692f47013a025316959d70cc817"
VAC_A2 = "0baefa05"
FOSSIL = "3a330f04d6f23eee8616f22368c4bc9769e09dd8"


class DictStore:
    """Blocks in a dict, verified on the way in; counts what is read."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.blocks: dict[tuple[Score, int], bytes] = {}
        self.reads = 0

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        self.reads += len(keys)
        return [self._get(key) for key in keys]

    def _get(self, key: Key) -> bytes:
        if self.family.is_nothing(key.score):
            return b""
        found = self.blocks.get((key.score, self._kind(key.kind)))
        if found is None:
            raise NoSuchBlock(key.score.hex())
        return found

    @staticmethod
    def _kind(kind: int) -> int:
        return int(kind)

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        return [(key.score, int(key.kind)) in self.blocks for key in keys]

    async def put_many(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            assert self.family.score(block.data) == block.score
            self.blocks[block.score, int(block.kind)] = bytes(block.data)

    def take(self, batch: Batch) -> None:
        run_now(self.put_many(batch.take()))


def load_archive(name: str) -> tuple[DictStore, Score]:
    """Return the blocks of a recorded archive in a store, and its root's score."""
    store = DictStore(SHA1)
    root = None
    for line in (DATA / "hashtree" / f"{name}-blocks.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        score, memory, wire, length, data = (*line.split(" "), "")[:5]
        block = bytes.fromhex(data)
        assert len(block) == int(length)
        assert int(from_memory(int(memory))) == int(wire)
        assert SHA1.score(block).hex() == score
        store.blocks[parse_score(score), int(wire)] = block
        root = root or parse_score(score)
    assert root is not None
    return store, root


def load_listing(name: str) -> list[dict[str, str]]:
    """Return the rows of a recorded listing."""
    lines = (ARCHIVES / f"{name}-listing.tsv").read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("# path"))
    lines[start] = lines[start].removeprefix("# ")
    return list(csv.DictReader(lines[start:], delimiter="\t", quoting=csv.QUOTE_NONE))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return run_now(coroutine)
