"""Copying: children first, nothing twice, holes told, interrupted anywhere and taken up again."""

from collections.abc import Sequence

import pytest

from lib9.errors import UsageError
from tests.venti_store.hashtree.support import recorded
from tests.venti_store.hashtree.test_walk import directory, random_tree, root_of
from venti_store.copying import Copied, copy_log, copy_trees
from venti_store.errors import CorruptBlock, HashMismatch, NoSuchBlock, StoreFull
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.children import entry_ref
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.walk import Walk, root_refs
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind, pointer
from venti_store.score import BLAKE3, SHA1, Score
from venti_store.stores.memory import MemoryStore


class Sink(MemoryStore):
    """A MemoryStore that tree builders can write to, and that notes what is asked of it."""

    def __init__(self, family=BLAKE3) -> None:
        super().__init__(family)
        self.events: list[str | Key] = []
        self.read: list[Key] = []

    def put(self, kind: Kind, data) -> Score:
        score = self.family.score(data)
        if data:
            self._append((score, kind), bytes(data))
        return score

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        self.read += keys
        return await super().get_many(keys)

    async def put_many(self, blocks: Sequence[Block]) -> None:
        self.events += [Key(block.score, block.kind) for block in blocks]
        await super().put_many(blocks)

    async def sync(self) -> None:
        self.events.append("sync")


async def reachable(store: MemoryStore, score: Score) -> set[Key]:
    return {
        Key(block.score, block.kind)
        async for blocks in Walk(store, root_refs(store, [score]))
        for block in blocks
    }


@pytest.fixture
def source() -> Sink:
    return Sink()


@pytest.fixture
def destination() -> Sink:
    return Sink()


@pytest.mark.parametrize("seed", range(10))
async def test_a_tree_is_there_whole_after_a_copy(
    source: Sink, destination: Sink, seed: int
) -> None:
    score = root_of(source, random_tree(source, seed))
    source.put(Kind.DATA, b"not in the tree")
    done = await copy_trees(source, destination, [score])
    wanted = await reachable(source, score)
    assert await reachable(destination, score) == wanted
    assert set(destination.blocks) == wanted
    assert done.holes == 0
    assert destination.events[-1] == "sync"
    assert destination.events[destination.events.index(Key(score, Kind.ROOT)) - 1] == "sync"


@pytest.mark.parametrize("after", [0, 1, 5, 20, 21, 22, 50])
async def test_an_interrupted_copy_is_taken_up_again(
    source: Sink, destination: Sink, after: int
) -> None:
    score = root_of(source, random_tree(source, 4))
    whole = await reachable(source, score)

    class Breaks(Sink):
        def _append(self, key, data) -> None:
            if len(self.blocks) >= after:
                raise StoreFull("full")
            super()._append(key, data)

    broken = Breaks()
    with pytest.raises(StoreFull):
        await copy_trees(source, broken, [score])
    for key in list(broken.blocks):  # whatever arrived is closed: no block without those below
        destination.blocks[key] = broken.blocks[key]
    before = len(destination.blocks)
    await copy_trees(source, destination, [score])
    assert set(destination.blocks) == whole
    sent = {event for event in destination.events if event != "sync"}
    again = {key for key in sent if key in broken.blocks}
    assert len(sent - again) == len(whole) - before
    assert {key.kind for key in again} <= {Kind.POINTER1, Kind.POINTER2}  # above directories


async def test_what_is_there_is_not_read_again(source: Sink, destination: Sink) -> None:
    files = [build_tree(source, b"%d" % n * 100, dsize=256, psize=256) for n in range(100)]
    old = directory(source, files)
    await copy_trees(source, destination, [root_of(source, old)])
    source.read.clear()
    new = build_tree(source, b"new", dsize=256, psize=256)
    score = root_of(source, directory(source, [old, new]))
    done = await copy_trees(source, destination, [score])
    assert done.blocks == 4
    assert len(source.read) == 4
    again = await copy_trees(source, destination, [score])
    assert (again.blocks, again.known) == (0, 1)


async def test_full_mends_a_destination_with_holes(source: Sink, destination: Sink) -> None:
    score = root_of(source, random_tree(source, 7))
    await copy_trees(source, destination, [score])
    whole = set(destination.blocks)
    for key in list(whole)[::3]:
        if key[1] is not Kind.ROOT:
            del destination.blocks[key]
    assert (await copy_trees(source, destination, [score])).blocks == 0
    await copy_trees(source, destination, [score], full=True)
    assert set(destination.blocks) == whole


async def test_pointers_over_data_do_not_stand_for_those_over_a_directory(
    source: Sink, destination: Sink
) -> None:
    """A file may have the very bytes of a directory; having the one is not having the other."""
    slots = [build_tree(source, b"%d" % n, dsize=256, psize=256) for n in range(40)]
    as_directory = directory(source, slots, 256)
    packed = [source.blocks[ref.key] for ref in _leaves(source, as_directory)]
    leaves = b"".join(source.put(Kind.DATA, leaf) for leaf in packed)
    tops = [source.put(pointer(1), leaves[n : n + 256]) for n in range(0, len(leaves), 256)]
    top = source.put(pointer(2), b"".join(tops))
    assert top == as_directory.score
    data = Entry(top, as_directory.size, 256, 256, as_directory.depth)
    await copy_trees(source, destination, [root_of(source, data)])
    score = root_of(source, as_directory)
    await copy_trees(source, destination, [score])
    assert await reachable(destination, score) == await reachable(source, score)


def _leaves(store: Sink, entry: Entry):
    from venti_store.hashtree.children import children

    refs = [entry_ref(entry)]
    while refs[0].key.kind is not Kind.DIRECTORY:
        refs = [c for ref in refs for c in children(store.family, ref, store.blocks[ref.key])]
    return refs


async def test_history_comes_along_when_asked(source: Sink, destination: Sink) -> None:
    first = root_of(source, build_tree(source, b"first", dsize=256, psize=256))
    second = root_of(source, build_tree(source, b"second", dsize=256, psize=256), first)
    await copy_trees(source, destination, [second])
    assert Key(first, Kind.ROOT) not in destination.blocks
    await copy_trees(source, destination, [second], with_history=True)
    assert set(destination.blocks) == set(source.blocks)
    roots = [e for e in destination.events if e != "sync" and e.kind is Kind.ROOT]
    assert roots == [Key(second, Kind.ROOT), Key(first, Kind.ROOT)]


@pytest.mark.parametrize("above_holes", [False, True])
async def test_holes_are_told_and_what_is_above_stays_behind(
    source: Sink, destination: Sink, above_holes: bool
) -> None:
    lost = build_tree(source, b"lost", dsize=256, psize=256)
    kept = build_tree(source, b"kept", dsize=256, psize=256)
    score = root_of(source, directory(source, [lost, kept]))
    whole = set(source.blocks)
    del source.blocks[entry_ref(lost).key]
    told: list[Key] = []
    done = await copy_trees(
        source,
        destination,
        [score],
        above_holes=above_holes,
        on_hole=lambda key, _: told.append(key),
    )
    assert told == [entry_ref(lost).key]
    assert done.holes == 1
    expected = whole - set(told) if above_holes else {entry_ref(kept).key}
    assert set(destination.blocks) == expected


async def test_a_missing_root_is_an_error_and_an_earlier_one_a_hole(
    source: Sink, destination: Sink
) -> None:
    with pytest.raises(NoSuchBlock):
        await copy_trees(source, destination, [BLAKE3.score(b"?")])
    with pytest.raises(NoSuchBlock):
        await copy_trees(source, destination, [BLAKE3.score(b"?")], with_history=True)
    score = root_of(
        source, build_tree(source, b"x", dsize=256, psize=256), BLAKE3.score(b"earlier")
    )
    done = await copy_trees(source, destination, [score], with_history=True)
    assert done.holes == 1
    assert set(destination.blocks) == set(source.blocks)


async def test_stores_of_two_hashes_are_refused(source: Sink) -> None:
    with pytest.raises(HashMismatch, match="stores differ in hash: blake3 and sha1"):
        await copy_trees(source, MemoryStore(SHA1), [])
    with pytest.raises(HashMismatch, match="stores differ in hash: blake3 and sha1"):
        await copy_log(source, MemoryStore(SHA1))


async def test_a_recorded_archive_is_copied() -> None:
    source = recorded("fossil-blocks")
    score = next(key.score for key in source.blocks if key.kind is Kind.ROOT)
    destination = MemoryStore(SHA1)
    await copy_trees(source, destination, [score], with_history=True)
    assert set(destination.blocks) == {key for key, data in source.blocks.items() if data}


async def test_the_whole_log_goes_in_its_order(source: Sink, destination: Sink) -> None:
    score = root_of(source, random_tree(source, 3))
    await source.append_name(b"scorename=x")
    source.put(Kind.DATA, b"not in the tree")
    destination.put(Kind.DATA, b"not in the tree")
    done = await copy_log(source, destination)
    blocks = [record for record in source.log() if record.kind is not None]
    sent = [event for event in destination.events if event != "sync"]
    assert sent == [Key(r.score, r.kind) for r in blocks if r.data != b"not in the tree"]
    assert (done.blocks, done.known) == (len(blocks) - 1, 1)
    assert await reachable(destination, score) == await reachable(source, score)
    with pytest.raises(UsageError, match="no log"):
        await copy_log(recorded("vac-a-blocks"), MemoryStore(SHA1))


async def test_damage_in_the_log_is_passed_over(source: Sink, destination: Sink) -> None:
    for n in range(10):
        source.put(Kind.DATA, b"%d" % n)

    class Damaged(Sink):
        def log(self, start: int = 1):
            for record in source.log(start):
                if record.number in (4, 5):
                    raise CorruptBlock(f"entry {record.number}")
                yield record

    told: list[str] = []
    done = await copy_log(Damaged(), destination, on_damage=lambda e: told.append(str(e)))
    assert told == ["entry 4", "entry 5"]
    assert (done.blocks, done.holes) == (8, 2)


async def test_progress_is_told(source: Sink, destination: Sink) -> None:
    seen: list[int] = []
    done = Copied(on_change=lambda copied: seen.append(copied.blocks))
    await copy_trees(source, destination, [root_of(source, random_tree(source, 1))], copied=done)
    assert seen == sorted(seen)
    assert seen[-1] == done.blocks >= len(destination.blocks)
    assert done.size >= sum(map(len, destination.blocks.values()))
