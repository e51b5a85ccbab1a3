"""Helpers for tests of stores on disk."""

from pathlib import Path

import lmdb

from lib9.waiting import run_now
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, Family
from venti_store.stores.lmdb.check import Damage, Scrub
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore


def new_store(tmp_path: Path, family: Family = BLAKE3, **options: int) -> LmdbStore:
    """Make a store below `tmp_path` and open it."""
    create(str(tmp_path / "store"), family)
    return LmdbStore(str(tmp_path / "store"), **options)


def put(store: LmdbStore, *datas: bytes) -> list[Key]:
    """Put and sync data blocks; return their keys."""
    blocks = [Block(store.family.score(data), Kind.DATA, data) for data in datas]
    run_now(store.put_many(blocks))
    run_now(store.sync())
    return [Key(block.score, block.kind) for block in blocks]


def close(store: LmdbStore) -> None:
    run_now(store.aclose())


def reopened(store: LmdbStore) -> LmdbStore:
    """Close the store and open it again: nothing is known to be verified."""
    close(store)
    return LmdbStore(store.path)


def flip_byte(store: LmdbStore, stored: bytes) -> None:
    """Flip a bit in the middle of the one place where the store's file holds `stored`."""
    path = Path(store.path) / "data.mdb"
    content = path.read_bytes()
    assert content.count(stored) == 1, content.count(stored)
    place = content.index(stored) + len(stored) // 2
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes([content[place] ^ 0x10]))


def noise(name: str, size: int = 20_000) -> bytes:
    """Bytes that follow from `name` and do not compress."""
    return b"".join(BLAKE3.score(b"%s %d" % (name.encode(), n)) for n in range(size // 32 + 1))[
        :size
    ]


def scrub(store: LmdbStore, *, rebuild: bool = False) -> list[Damage]:
    return list(Scrub(store.environment, rebuild=rebuild).run())


def edit(store: LmdbStore, table: str, key: bytes, value: bytes | None) -> None:
    """Put or delete (None) a pair in one of the store's tables behind its back."""
    e = store.environment
    db: lmdb._Database = getattr(e, table)
    with e.env.begin(write=True, db=db) as txn:
        if value is None:
            assert txn.delete(key)
        else:
            txn.put(key, value)
