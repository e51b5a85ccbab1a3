"""The LMDB store beside SQLite, the store of one file that anyone has."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from lib9.waiting import run_now
from tests.bench.context import Context, noise
from tests.bench.rows import Row
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, Score
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

SQLITE = f"sqlite {sqlite3.sqlite_version}"
GROUP = 16  # blocks in a call: what one read of 1 MiB asks for


class SqliteStore:
    """The obvious other way: a table of score and bytes, verified when read."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE IF NOT EXISTS blocks (score BLOB PRIMARY KEY, data BLOB)")

    def put(self, blocks: list[Block]) -> None:
        self.db.execute("BEGIN")
        rows = [(block.score, block.data) for block in blocks]
        self.db.executemany("INSERT OR IGNORE INTO blocks VALUES (?, ?)", rows)
        self.db.execute("COMMIT")

    def get(self, scores: list[Score]) -> list[bytes]:
        found = []
        for score in scores:
            query = self.db.execute("SELECT data FROM blocks WHERE score = ?", (score,))
            (data,) = query.fetchone()
            assert BLAKE3.score(data) == score
            found.append(data)
        return found


def run(ctx: Context) -> Iterable[Row]:
    with ctx.scratch() as scratch:
        for name, size in (("64 KiB", 65536), ("8 KiB", 8192)):
            yield from _blocks(ctx, scratch, name, size)


def _blocks(ctx: Context, scratch: Path, name: str, size: int) -> Iterable[Row]:
    total = ctx.size(256 << 20, 4 << 20)
    data = noise(total)
    pieces = [data[at : at + size] for at in range(0, total, size)]
    blocks = [Block(BLAKE3.score(piece), Kind.DATA, piece) for piece in pieces]
    serial = iter(range(1000))

    def write_ours() -> float:
        path = str(scratch / f"lmdb{size}-{next(serial)}")
        create(path, BLAKE3)
        store = LmdbStore(path)

        def write() -> None:
            for at in range(0, len(blocks), GROUP):
                run_now(store.put_many(blocks[at : at + GROUP]))
            run_now(store.sync())

        rate = total / ctx.microseconds(write, 1)()
        run_now(store.aclose())
        return rate

    def write_theirs() -> float:
        other = SqliteStore(scratch / f"sqlite{size}-{next(serial)}")
        many = (4 << 20) // size  # in a transaction

        def write() -> None:
            for at in range(0, len(blocks), many):
                other.put(blocks[at : at + many])

        rate = total / ctx.microseconds(write, 1)()
        other.db.close()
        return rate

    values = ctx.race({"ours": write_ours, "peer": write_theirs}, runs=min(ctx.runs, 3))
    flags = f"{total >> 20} MiB of noise, on stable storage at the end"
    yield Row(
        f"store: write {name} blocks",
        "MB/s",
        values["ours"],
        values["peer"],
        SQLITE,
        better="higher",
        target=1.0,
        target_is="ratio",
        cache="new files",
        flags=flags + "; sqlite: WAL, synchronous=FULL, 4 MiB in a transaction, no dedup check",
    )
    yield from _reads(ctx, scratch, name, blocks)


def _reads(ctx: Context, scratch: Path, name: str, blocks: list[Block]) -> Iterable[Row]:
    size = len(blocks[0].data)
    store = LmdbStore(str(next(scratch.glob(f"lmdb{size}-*"))))
    other = SqliteStore(next(scratch.glob(f"sqlite{size}-*[0-9]")))
    keys = [Key(block.score, block.kind) for block in blocks]
    groups = [keys[at : at + GROUP] for at in range(0, len(keys), GROUP)]

    def read_ours() -> float:
        def read() -> None:
            for group in groups:
                run_now(store.get_many(group))

        return ctx.microseconds(read, 1)() / len(keys)

    def read_theirs() -> float:
        def read() -> None:
            for group in groups:
                other.get([key.score for key in group])

        return ctx.microseconds(read, 1)() / len(keys)

    read_ours()
    read_theirs()
    values = ctx.race({"ours": read_ours, "peer": read_theirs})
    yield Row(
        f"store: read a {name} block",
        "us",
        values["ours"],
        values["peer"],
        SQLITE,
        target={65536: 20, 8192: 4}[size],
        flags=f"{GROUP} in a call, all verified; noise, so stored raw",
    )
    run_now(store.aclose())
    other.db.close()
