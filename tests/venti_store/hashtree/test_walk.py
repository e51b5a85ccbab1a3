"""Walking: every block once it must be, children first, whatever a hostile writer stored."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.waiting import run_now
from tests.venti_store.hashtree.support import (
    RECORDED,
    SMALL,
    CountingStore,
    build,
    families,
    recorded,
)
from venti_store.errors import BadTree, CorruptBlock, NoSuchBlock
from venti_store.hashtree import walk as walk_module
from venti_store.hashtree.build import TreeBuilder
from venti_store.hashtree.children import Ref, children, entry_ref, root_ref
from venti_store.hashtree.entry import Entry, pack_entry
from venti_store.hashtree.root import Root, pack_root
from venti_store.hashtree.walk import BATCH_MAX, Walk, history, root_refs
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind, pointer
from venti_store.score import BLAKE3, SHA1, Family, Score


def walked(walk: Walk) -> list[Block]:
    async def collect() -> list[Block]:
        return [block async for blocks in walk for block in blocks]

    return run_now(collect())


def keys(blocks: Sequence[Block]) -> list[Key]:
    return [Key(block.score, block.kind) for block in blocks]


def directory(store: CountingStore, entries: Sequence[Entry | None], dsize: int = 8192) -> Entry:
    builder = TreeBuilder(store, dsize=dsize, psize=SMALL, directory=True)
    for entry in entries:
        builder.write(pack_entry(store.family, entry))
    return builder.finish()


def root_of(store: CountingStore, top: Entry, prev: Score | None = None) -> Score:
    leaf = store.put(Kind.DIRECTORY, pack_entry(store.family, top))
    root = Root(b"", b"vac", leaf, 8192, prev or store.family.nothing)
    return store.put(Kind.ROOT, pack_root(store.family, root))


def random_tree(store: CountingStore, seed: int, nesting: int = 3) -> Entry:
    """Directories in directories, files of several sizes, things that occur twice, unused slots."""
    rng = random.Random(seed)
    known: list[Entry] = []

    def make(nesting: int) -> Entry:
        if known and rng.random() < 0.3:
            return rng.choice(known)
        if nesting and rng.random() < 0.6:
            slots = [make(nesting - 1) for _ in range(rng.randrange(12))]
            made = directory(store, [s if rng.random() < 0.9 else None for s in slots], SMALL)
        else:
            made = build(store, rng.choice([b"", b"a", b"\0", b"xy"]) * rng.randrange(3000))
        known.append(made)
        return made

    return directory(store, [make(nesting) for _ in range(8)], SMALL)


@given(families, st.integers(0, 2**32))
def test_everything_is_given_out_after_what_it_points_to(family: Family, seed: int) -> None:
    store = CountingStore(family)
    score = root_of(store, random_tree(store, seed))
    blocks = walked(Walk(store, root_refs(store, [score])))
    assert blocks[-1].score == score
    places: dict[Key, set[Ref]] = {Key(score, Kind.ROOT): {root_ref(family, score)}}
    for block in reversed(blocks):  # so parents come first, and say how a block is to be read
        for ref in places.get(Key(block.score, block.kind), ()):
            for child in children(family, ref, block.data):
                places.setdefault(child.key, set()).add(child)
    seen: set[Key] = set()
    for block in blocks:
        key = Key(block.score, block.kind)
        assert family.score(block.data) == block.score
        for ref in places[key]:
            assert {child.key for child in children(family, ref, block.data)} <= seen
        seen.add(key)
    assert seen == set(places)
    above = [k for k in keys(blocks) if k.kind in (Kind.ROOT, Kind.DIRECTORY)]
    assert len(above) == len(set(above))


@pytest.mark.parametrize("name", RECORDED)
def test_real_archives_are_walked_whole(name: str) -> None:
    store = recorded(name)
    top = next(key.score for key in store.blocks if key.kind is Kind.ROOT)
    scores = run_now(history(store, top, lambda *_: None))  # an earlier root is in another file
    found = keys(walked(Walk(store, root_refs(store, reversed(scores)))))
    assert set(found) == {key for key, block in store.blocks.items() if block}


def test_many_blocks_are_asked_for_at_once() -> None:
    store = CountingStore(BLAKE3)
    files = [build(store, b"%d" % n) for n in range(1000)]
    folders = [directory(store, files[n : n + 10]) for n in range(0, 1000, 10)]
    score = root_of(store, directory(store, folders))
    walked(Walk(store, root_refs(store, [score])))
    assert len(store.calls) <= 4 + 1000 // BATCH_MAX + 2
    assert max(len(call) for call in store.calls) == BATCH_MAX


def test_blocks_of_many_sizes_are_read_within_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "BATCH_SIZE", 10 * SMALL)
    store = CountingStore(BLAKE3)
    entry = build(store, random.Random(1).randbytes(100_000))
    walked(Walk(store, [entry_ref(entry)]))
    assert max(len(call) for call in store.calls) == 10


def test_what_is_skipped_is_not_read_nor_anything_below() -> None:
    store = CountingStore(SHA1)
    kept = build(store, b"kept" * 5000)
    skipped = build(store, b"skipped" * 5000)
    top = directory(store, [kept, skipped])

    async def skip(refs: Sequence[Ref]) -> list[bool]:
        return [ref.key.score == skipped.score for ref in refs]

    blocks = walked(Walk(store, [entry_ref(top)], skip=skip))
    assert set(keys(blocks)) == {entry_ref(top).key} | set(
        keys(walked(Walk(store, [entry_ref(kept)])))
    )
    assert entry_ref(skipped).key not in store.asked


def test_history_is_followed_when_asked_and_ends_where_it_is_cut() -> None:
    store = CountingStore(SHA1)
    roots = [root_of(store, build(store, b"first"))]
    roots.append(root_of(store, build(store, b"second"), roots[0]))
    roots.append(root_of(store, build(store, b"third"), roots[1]))
    assert run_now(history(store, roots[2])) == roots[::-1]
    assert len(walked(Walk(store, root_refs(store, [roots[2]])))) == 3
    del store.blocks[Key(roots[0], Kind.ROOT)]
    told: list[Key] = []
    assert run_now(history(store, roots[2], lambda key, _: told.append(key))) == roots[:0:-1]
    assert told == [Key(roots[0], Kind.ROOT)]
    with pytest.raises(NoSuchBlock):
        run_now(history(store, roots[2]))
    with pytest.raises(NoSuchBlock):
        run_now(history(store, roots[0], lambda key, _: told.append(key)))


def test_a_history_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "HISTORY_MAX", 5)
    store = CountingStore(SHA1)
    score = SHA1.nothing
    for _ in range(6):
        score = root_of(store, build(store, b"x"), score)
    with pytest.raises(BadTree, match="more than 5 roots"):
        run_now(history(store, score))


@pytest.mark.parametrize("above_holes", [False, True])
def test_blocks_above_a_hole_are_held_back_unless_wanted(above_holes: bool) -> None:
    store = CountingStore(BLAKE3)
    good, bad = build(store, b"good" * 900), build(store, b"".join(b"%3d." % n for n in range(900)))
    twice = directory(store, [bad])
    top = directory(store, [twice, good, twice])
    lost = store.blocks
    gone = [key for key in lost if key.kind is Kind.DATA and b" 42." in lost[key]]
    above = {entry_ref(bad).key, entry_ref(twice).key, entry_ref(top).key}
    for key in gone:
        del store.blocks[key]
    told: list[Key] = []
    blocks = walked(
        Walk(
            store,
            [entry_ref(top), entry_ref(twice)],
            missing=lambda key, _: told.append(key),
            above_holes=above_holes,
        )
    )
    assert told == gone != []
    given_out = set(keys(blocks))
    assert (above <= given_out) if above_holes else not (above & given_out)
    assert entry_ref(good).key in given_out
    with pytest.raises(NoSuchBlock):
        walked(Walk(store, [entry_ref(top)]))


def test_a_damaged_block_is_a_hole() -> None:
    class Rotten(CountingStore):
        def _get(self, key: Key) -> bytes:
            if key == rotten:
                raise CorruptBlock("rot")
            return super()._get(key)

    store = Rotten(SHA1)
    entries = [build(store, b"%d" % n) for n in range(300)]
    rotten = entry_ref(entries[77]).key
    told: list[Key] = []
    top = directory(store, entries)
    assert len(walked(Walk(store, [entry_ref(top)], missing=lambda key, _: told.append(key)))) > 290
    assert told == [rotten]


# --- what a hostile writer may store ---


def test_blocks_that_point_to_each_other_many_times_over_cost_no_more() -> None:
    """100 directories, each holding the next 100 times: 100^100 paths."""
    store = CountingStore(BLAKE3)
    entry = build(store, b"bottom")
    for _ in range(100):
        entry = directory(store, [entry] * 100)
    blocks = walked(Walk(store, [entry_ref(entry)]))
    assert len(blocks) == 101
    assert len(store.asked) == 101


def test_pointer_blocks_that_repeat_cost_no_more() -> None:
    store = CountingStore(SHA1)
    score = store.put(Kind.DATA, b"leaf")
    for level in range(1, 8):
        score = store.put(pointer(level), score * 409)
    entry = Entry(score, 2**31 * 8192, 8192, 8192, 7)
    assert len(walked(Walk(store, [entry_ref(entry)]))) == 8


def test_leaves_that_many_point_to_are_read_once() -> None:
    store = CountingStore(SHA1)
    leaves = [store.put(Kind.DATA, b"%d" % n) for n in range(10)]
    rng = random.Random(1)
    files = []
    for _ in range(50):
        scores = b"".join(rng.choices(leaves, k=400))
        files.append(Entry(store.put(pointer(1), scores), 400 * 8192, 8192, 8192, 1))
    walked(Walk(store, [entry_ref(directory(store, files))]))
    assert len(store.asked) == 1 + 50 + 10


def test_a_chain_of_directories_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountingStore(SHA1)
    entry = build(store, b"bottom")
    for _ in range(1000):
        entry = directory(store, [entry])
    assert len(walked(Walk(store, [entry_ref(entry)]))) == 1001
    monkeypatch.setattr(walk_module, "NESTING_MAX", 1000)
    assert len(walked(Walk(store, [entry_ref(entry)]))) == 1001
    monkeypatch.setattr(walk_module, "NESTING_MAX", 999)
    with pytest.raises(BadTree, match="nested more than 999"):
        walked(Walk(store, [entry_ref(entry)]))
    monkeypatch.setattr(walk_module, "NESTING_MAX", 1000)
    monkeypatch.setattr(walk_module, "HELD_SIZE_MAX", 39_000)
    with pytest.raises(BadTree, match="nested so deep"):
        walked(Walk(store, [entry_ref(entry)]))


def test_the_memory_of_what_is_done_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "REMEMBERED_MAX", 10)
    monkeypatch.setattr(walk_module, "LEAVES_REMEMBERED_MAX", 20)
    store = CountingStore(SHA1)
    top = directory(store, [directory(store, [build(store, b"%d" % n)]) for n in range(100)])
    walk = Walk(store, [entry_ref(top)])
    assert len(walked(walk)) == 201
    assert (len(walk._done), len(walk._leaves_done)) == (10, 20)
    assert not walk._waiting
    assert not walk._held


def hostile(kind: Kind, block: bytes, family: Family = SHA1, dsize: int = 8192) -> Walk:
    store = CountingStore(family)
    score = store.put(kind, block)
    if kind is Kind.ROOT:
        return Walk(store, root_refs(store, [score]))
    leaf = Kind.DIRECTORY if kind is Kind.DIRECTORY else Kind.DATA
    return Walk(store, [Ref(Key(score, kind), leaf, dsize, dsize)])


@pytest.mark.parametrize(
    ("kind", "block", "why"),
    [
        (Kind.DATA, bytes(8192) + b"x", "leaf of 8193 bytes"),
        (Kind.DIRECTORY, b"x" * 8193, "8193 bytes"),
        (Kind.DIRECTORY, b"\xff" * 40, "not in 256 to 57344"),
        (Kind.POINTER1, b"x" * 8193, "8193 bytes"),
        (Kind.ROOT, b"\0\2" + bytes(297), "299 bytes"),
        (Kind.ROOT, b"\0\2" + bytes(299), "301 bytes"),
        (Kind.ROOT, b"\0\2" + bytes(298), "blocks of 0 bytes"),
        (Kind.ROOT, b"\0\3" + bytes(298), "version 3"),
    ],
)
def test_a_block_that_makes_no_sense_is_refused(kind: Kind, block: bytes, why: str) -> None:
    with pytest.raises(BadTree, match=why):
        walked(hostile(kind, block))


def test_an_entry_deeper_than_seven_or_shallower_than_its_size_is_refused() -> None:
    packed = bytearray(pack_entry(SHA1, Entry(SHA1.score(b"x"), 8192, 8192, 8192, 0)))
    packed[19] = 1  # one byte more than a block, at depth 0
    with pytest.raises(BadTree, match="needs 1"):
        walked(hostile(Kind.DIRECTORY, bytes(packed)))


@given(families, st.sampled_from(list(Kind)), st.binary(max_size=400))
def test_any_block_is_walked_or_refused(family: Family, kind: Kind, block: bytes) -> None:
    try:
        walked(hostile(kind, block, family))
    except (BadTree, NoSuchBlock):
        return


def test_data_is_never_taken_for_a_directory() -> None:
    """The same pointer block above data and above a directory is two different things."""
    store = CountingStore(SHA1)
    inner = build(store, b"inner")
    packed = pack_entry(SHA1, inner) * 6
    leaf = store.put(Kind.DATA, packed)
    store.put(Kind.DIRECTORY, packed)
    score = store.put(pointer(1), leaf * 2)
    data = Entry(score, 480, SMALL, SMALL, 1)
    as_directory = Entry(score, 480, SMALL, SMALL, 1, directory=True)
    only_data = walked(Walk(store, [entry_ref(data)]))
    assert {block.kind for block in only_data} == {Kind.DATA, Kind.POINTER1}
    both = walked(Walk(store, [entry_ref(data), entry_ref(as_directory)]))
    assert Key(inner.score, Kind.DATA) in keys(both)
    assert Key(leaf, Kind.DIRECTORY) in keys(both)
