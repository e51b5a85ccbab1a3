"""Stores with roots in them, and the books of their names."""

from pathlib import Path

from lib9.keys import Identity
from tests.venti_store.names.kit import STO1, TRUST
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.entry import pack_entry
from venti_store.hashtree.root import Root, pack_root
from venti_store.interfaces import Batch, Block, BlockStore
from venti_store.kind import Kind
from venti_store.names.book import Book
from venti_store.names.folder import DiskFolder, MemoryFolder
from venti_store.names.signing import Trust
from venti_store.score import BLAKE3, Score
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore
from venti_store.stores.memory import MemoryStore


def tree(word: str, files: int = 3) -> tuple[Score, list[Block]]:
    """Return the score and the blocks of a small tree, children first."""
    batch = Batch(BLAKE3)
    entries = [
        build_tree(batch, f"{word} {n} ".encode() * 300, dsize=512, psize=512) for n in range(files)
    ]
    packed = b"".join(pack_entry(BLAKE3, entry) for entry in entries)
    top = build_tree(batch, packed, dsize=512, psize=512, directory=True)
    leaf = batch.put(Kind.DIRECTORY, pack_entry(BLAKE3, top))
    root = Root(b"", b"vac", leaf, 512, BLAKE3.nothing)
    return batch.put(Kind.ROOT, pack_root(BLAKE3, root)), batch.blocks


async def put_tree(store: BlockStore, word: str, files: int = 3) -> Score:
    score, blocks = tree(word, files)
    await store.put_many(blocks)
    return score


class Node:
    """A store in memory with a book."""

    def __init__(self, identity: Identity | None = STO1, trust: Trust = TRUST) -> None:
        self.store = MemoryStore()
        self.folder = MemoryFolder()
        self.identity = identity
        self.book = self.another(trust)

    def another(self, trust: Trust = TRUST, stamp: str = "") -> Book:
        return Book(self.store, self.folder, trust, identity=self.identity, stamp=stamp)

    def records(self) -> list[bytes]:
        return [record.data for record in self.store.names()]


def disk_book(
    path: Path, identity: Identity | None = STO1, trust: Trust = TRUST
) -> tuple[LmdbStore, Book]:
    if not path.exists():
        create(str(path), BLAKE3)
    store = LmdbStore(str(path))
    return store, Book(store, DiskFolder(str(path)), trust, identity=identity)
