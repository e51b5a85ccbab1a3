"""Hash trees in memory: what they add to hashing the blocks, and to getting them."""

from collections.abc import Iterable

from lib9.waiting import run_now
from tests.bench.context import Context, noise, words
from tests.bench.rows import Row
from venti_store.hashtree.build import TreeBuilder, build_tree
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.children import entry_ref
from venti_store.hashtree.entry import Entry, pack_entry
from venti_store.hashtree.read import leaf_keys, read
from venti_store.hashtree.update import update
from venti_store.hashtree.walk import Walk
from venti_store.interfaces import Batch, Key, LogRecord
from venti_store.score import BLAKE3
from venti_store.stores.memory import MemoryStore

DSIZE, PSIZE = 65536, 8192
BLAKE = "blake3 alone"


def run(ctx: Context) -> Iterable[Row]:
    yield small_files(ctx)
    yield large_file(ctx)
    yield from reading(ctx)
    yield changing(ctx)
    yield walking(ctx)


def small_files(ctx: Context) -> Row:
    files = words(ctx.size(55_000, 2000))
    batch = Batch(BLAKE3)

    def ours() -> float:
        def build() -> None:
            for data in files:
                pack_entry(BLAKE3, build_tree(batch, data, dsize=DSIZE, psize=PSIZE))
            batch.take()

        return ctx.microseconds(build, 1)() / len(files)

    def theirs() -> float:
        def score() -> None:
            for data in files:
                BLAKE3.score(data)

        return ctx.microseconds(score, 1)() / len(files)

    values = ctx.race({"ours": ours, "peer": theirs})
    size = sum(map(len, files)) // len(files)
    return Row(
        "tree: build a small file",
        "us",
        values["ours"],
        values["peer"],
        BLAKE,
        target=10,
        cache="in memory",
        flags=f"{len(files)} files of {size} bytes, entry packed",
    )


def large_file(ctx: Context) -> Row:
    data = noise(ctx.size(256 << 20, 8 << 20))
    view = memoryview(data)

    def ours() -> float:
        batch = Batch(BLAKE3)
        builder = TreeBuilder(batch, dsize=DSIZE, psize=PSIZE)

        def build() -> None:
            for at in range(0, len(data), 1 << 20):
                builder.write(view[at : at + (1 << 20)])
                batch.take()
            builder.finish()

        return len(data) / ctx.microseconds(build, 1)()

    def theirs() -> float:
        def score() -> None:
            for at in range(0, len(data), DSIZE):
                BLAKE3.score(view[at : at + DSIZE])

        return len(data) / ctx.microseconds(score, 1)()

    values = ctx.race({"ours": ours, "peer": theirs})
    return Row(
        "tree: build a large file",
        "MB/s",
        values["ours"],
        values["peer"],
        BLAKE,
        better="higher",
        target=0.85,
        target_is="ratio",
        cache="in memory",
        flags=f"{len(data) >> 20} MiB of noise in blocks of 64 KiB",
    )


def stored(data: bytes) -> tuple[MemoryStore, Entry]:
    store, batch = MemoryStore(BLAKE3), Batch(BLAKE3)
    entry = build_tree(batch, data, dsize=DSIZE, psize=PSIZE)
    run_now(store.put_many(batch.take()))
    return store, entry


def reading(ctx: Context) -> Iterable[Row]:
    store, entry = stored(noise(64 << 20))
    cache = PointerCache()
    calls = ctx.size(300, 10)
    for name, length, target in (("1 MiB", 1 << 20, 1.3), ("4 KiB", 4096, 4.0)):
        offset = 5 << 20
        count = max(length // DSIZE, 1)
        keys = run_now(leaf_keys(store, entry, offset // DSIZE, count, cache))
        wanted = [key for key in keys if key is not None]
        values = ctx.race(
            {
                "ours": ctx.microseconds(
                    lambda o=offset, n=length: run_now(read(store, entry, o, n, cache)), calls
                ),
                "peer": ctx.microseconds(
                    lambda w=wanted: b"".join(run_now(store.get_many(w))), calls
                ),
            }
        )
        yield Row(
            f"tree: read {name}",
            "us",
            values["ours"],
            values["peer"],
            "get_many and join alone",
            target=target,
            target_is="ratio",
            cache="in memory, pointer blocks cached",
            flags="blocks verified",
        )


def changing(ctx: Context) -> Row:
    store = MemoryStore(BLAKE3)
    batch = Batch(BLAKE3)
    builder = TreeBuilder(batch, dsize=DSIZE, psize=PSIZE)
    builder.write(noise(4 << 20))
    builder.skip(100 << 30)
    builder.write(noise(4 << 20, 1))
    entry = builder.finish()
    run_now(store.put_many(batch.take()))
    leaf = noise(DSIZE, 2)

    def change() -> None:
        run_now(update(store, Batch(BLAKE3), entry, [(10, leaf)], size=entry.size))

    values = ctx.race({"ours": ctx.microseconds(change, ctx.size(1000, 20))})
    return Row(
        "tree: change one block of 100 GiB",
        "us",
        values["ours"],
        target=500,
        cache="in memory",
        flags=f"depth {entry.depth}, nothing cached",
    )


def walking(ctx: Context) -> Row:
    files = words(ctx.size(55_000, 2000))
    batch = Batch(BLAKE3)
    top = TreeBuilder(batch, dsize=PSIZE, psize=PSIZE, directory=True)
    for at in range(0, len(files), 20):
        folder = TreeBuilder(batch, dsize=PSIZE, psize=PSIZE, directory=True)
        for data in files[at : at + 20]:
            folder.write(pack_entry(BLAKE3, build_tree(batch, data, dsize=DSIZE, psize=PSIZE)))
        top.write(pack_entry(BLAKE3, folder.finish()))
    entry = top.finish()
    store = MemoryStore(BLAKE3)
    run_now(store.put_many(batch.take()))

    async def walk() -> int:
        return sum([len(blocks) async for blocks in Walk(store, [entry_ref(entry)])])

    count = run_now(walk())
    keys = list(map(_key, store.log()))

    values = ctx.race(
        {
            "ours": lambda: ctx.microseconds(lambda: run_now(walk()), 1)() / count,
            "peer": lambda: ctx.microseconds(lambda: run_now(store.get_many(keys)), 1)() / count,
        }
    )
    return Row(
        "tree: walk, for each block",
        "us",
        values["ours"],
        values["peer"],
        "get_many alone",
        target=20,
        cache="in memory",
        flags=f"{count} blocks, verified",
    )


def _key(record: LogRecord) -> Key:
    assert record.kind is not None
    return Key(record.score, record.kind)
