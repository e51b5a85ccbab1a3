"""What the tests of replication share: small trees, names of an opaque form, followed stores."""

import random
from dataclasses import dataclass

from lib9.errors import SpawngridError
from replicator.actions import Position
from replicator.ends import LocalLog
from replicator.follower import Follower
from replicator.following import Following, Hooks
from replicator.interfaces import Named
from replicator.judging import Judge
from venti_store.hashtree.build import TreeBuilder, build_tree
from venti_store.hashtree.closure import holes_below
from venti_store.hashtree.entry import pack_entry
from venti_store.hashtree.root import Root, pack_root
from venti_store.interfaces import Batch, Block
from venti_store.kind import Kind
from venti_store.score import BLAKE3, Family, Score

SMALL = 256


class BadName(SpawngridError):
    """A name record of no sense."""


def name_record(label: str, root: Score | None) -> bytes:
    return f"{label} {root.hex() if root else '-'}".encode()


def rules(record: bytes) -> Named:
    """The rules of `name_record`: a label that begins with `bad` is refused."""
    label, _, root = record.decode().partition(" ")
    if label.startswith("bad"):
        raise BadName(f"{label}: bad by intent")
    return Named(label, None if root == "-" else Score(bytes.fromhex(root)))


@dataclass
class Tree:
    root: Score
    blocks: list[Block]  # children first


def tree(seed: object, files: int = 4, size: int = 1500, family: Family = BLAKE3) -> Tree:
    """A root with a directory of `files` streams, each a small hash tree of its own."""
    rng = random.Random(str(seed))
    return of_files([rng.randbytes(size) for _ in range(files)], family)


def changed(seed: object, files: int = 4, size: int = 1500) -> Tree:
    """The tree of the same seed after its last file has changed."""
    rng = random.Random(str(seed))
    return of_files([rng.randbytes(size) for _ in range(files - 1)] + [b"new" * 400], BLAKE3)


def of_files(files: list[bytes], family: Family) -> Tree:
    sink = Batch(family)
    entries = [build_tree(sink, data, dsize=SMALL, psize=SMALL) for data in files]
    builder = TreeBuilder(sink, dsize=8192, psize=SMALL, directory=True)
    for entry in entries:
        builder.write(pack_entry(family, entry))
    leaf = sink.put(Kind.DIRECTORY, pack_entry(family, builder.finish()))
    root = sink.put(Kind.ROOT, pack_root(family, Root(b"", b"vac", leaf, 8192, family.nothing)))
    return Tree(root, list({(b.score, b.kind): b for b in sink.take()}.values()))


async def put_tree(store, made: Tree, label: str | None = None) -> None:
    await store.put_many(made.blocks)
    await store.sync()
    if label is not None:
        await store.append_name(name_record(label, made.root))


def names_in(store) -> list[bytes]:
    return [r.data for r in store.log() if r.kind is None]


async def check_closed(store) -> None:
    """Every name in the log has all of its blocks, whatever anybody remembers."""
    for record in names_in(store):
        root = rules(record).root
        if root is not None:
            assert await holes_below(store, root) == [], record


def nowhere(store) -> Position:
    return Position(store.store_id, 0, Score(bytes(store.family.size)))


async def follow(source, store, start=None, *, others=(), judge=None, **hooks):
    """Follow once, to the end of the source's log as it is; return what did it."""
    end = source if hasattr(source, "about") else LocalLog(source)
    about = await end.about()
    start = start or Position(about.store_id, 0, Score(bytes(store.family.size)))
    following = Following(
        end, store, Follower(start, until=about.last), judge or Judge(store, rules),
        others=lambda: others, hooks=Hooks(**hooks),
    )  # fmt: skip
    await following.run()
    return following
