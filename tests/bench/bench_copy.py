"""`venti copy` beside rsync: the same small files to another place, once and again."""

import os
import shutil
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from lib9.waiting import run_now
from tests.bench.context import Context, words
from tests.bench.rows import Row
from venti_store.hashtree.build import TreeBuilder, build_tree
from venti_store.hashtree.entry import pack_entry
from venti_store.hashtree.root import Root, pack_root
from venti_store.interfaces import Batch
from venti_store.kind import Kind
from venti_store.score import BLAKE3
from venti_store.stores.lmdb import LmdbStore, create

VENTI = Path(sysconfig.get_path("scripts")) / "venti"
FILES_IN_FOLDER = 20
BATCH_SIZE = 4 << 20


def run(ctx: Context) -> Iterable[Row]:
    files = words(ctx.size(55_000, 500))
    rsync = ctx.peer("rsync")
    with ctx.scratch() as scratch:
        score = fill_store(scratch / "a", files)
        if rsync:
            fill_folder(scratch / "files", files)

        def ours() -> None:
            ctx.command(VENTI, "copy", scratch / "a", scratch / "b", score)

        def theirs() -> None:
            ctx.command("rsync", "-a", f"{scratch}/files/", scratch / "copies")
            os.sync()  # venti copy ends on stable storage

        contestants = {"ours": ours} | ({"peer": theirs} if rsync else {})

        def prepare_first(name: str) -> None:
            shutil.rmtree(scratch / {"ours": "b", "peer": "copies"}[name], ignore_errors=True)
            if name == "ours":
                create(str(scratch / "b"), BLAKE3)

        flags = f"{len(files)} small files; rsync -a, then sync"
        for name, prepare, target, target_is in (
            ("first", prepare_first, 1.0, "ratio"),
            ("again, nothing changed", None, 0.5, "ours"),
        ):
            values = ctx.race(contestants, prepare=prepare, runs=min(ctx.runs, 3))
            yield Row(
                f"copy: {name}",
                "s",
                values["ours"],
                values.get("peer", ()),
                rsync or "rsync: not installed",
                target=target,
                target_is=target_is,
                cache="warm source",
                flags=flags,
            )


def fill_store(path: Path, files: Iterable[bytes]) -> str:
    """Make a store with a tree of the files, some to a directory, and return its score."""
    create(str(path), BLAKE3)
    store, batch = LmdbStore(str(path)), Batch(BLAKE3)
    top = TreeBuilder(batch, dsize=8192, psize=8192, directory=True)
    packed: list[bytes] = []

    def folder() -> None:
        entry = build_tree(batch, b"".join(packed), dsize=8192, psize=8192, directory=True)
        top.write(pack_entry(BLAKE3, entry))
        packed.clear()
        if batch.size > BATCH_SIZE:
            run_now(store.put_many(batch.take()))

    for data in files:
        packed.append(pack_entry(BLAKE3, build_tree(batch, data, dsize=65536, psize=8192)))
        if len(packed) == FILES_IN_FOLDER:
            folder()
    folder()
    leaf = batch.put(Kind.DIRECTORY, pack_entry(BLAKE3, top.finish()))
    root = Root(b"", b"vac", leaf, 65536, BLAKE3.nothing)
    score = batch.put(Kind.ROOT, pack_root(BLAKE3, root))
    run_now(store.put_many(batch.take()))
    run_now(store.aclose())
    return score.hex()


def fill_folder(path: Path, files: Iterable[bytes]) -> None:
    for number, data in enumerate(files):
        folder = path / str(number // FILES_IN_FOLDER)
        if number % FILES_IN_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / str(number)).write_bytes(data)
