"""Whether a tree is here whole: against the walk, and no dearer than what changed."""

import random

import pytest

from tests.venti_store.hashtree.support import RECORDED, SMALL, CountingStore, recorded
from tests.venti_store.hashtree.test_walk import directory, random_tree, root_of
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.closure import HOLES_MAX, Hole, holes_below
from venti_store.hashtree.root import root_size
from venti_store.hashtree.walk import Walk, root_refs
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, SHA1, Score


async def reachable(store: CountingStore, score: Score) -> list[Key]:
    found = [b async for blocks in Walk(store, root_refs(store, [score])) for b in blocks]
    return list(dict.fromkeys(Key(b.score, b.kind) for b in found))


@pytest.mark.parametrize("family", [BLAKE3, SHA1])
@pytest.mark.parametrize("seed", range(6))
async def test_every_block_of_a_tree_is_missed(family, seed: int) -> None:
    store = CountingStore(family)
    score = root_of(store, random_tree(store, seed))
    assert await holes_below(store, score) == []
    for key in await reachable(store, score):
        block = store.blocks.pop(key)
        assert await holes_below(store, score) == [Hole(key, "not here")]
        store.blocks[key] = block


async def test_a_damaged_block_above_leaves_is_a_hole() -> None:
    store = CountingStore(BLAKE3)
    score = root_of(store, random_tree(store, 1))
    [key] = [k for k in await reachable(store, score) if k.kind is Kind.ROOT]
    store.blocks[key] = bytes(root_size(BLAKE3))
    [hole] = await holes_below(store, score)
    assert (hole.key, hole.why) == (key, "root of version 0 instead of 2")


def big_tree(store: CountingStore, changed: int = -1) -> Score:
    entries = []
    for number in range(300):
        name = b"new" if number == changed else b"old"
        data = (name + b"%d" % number).ljust(SMALL, b".") * 40
        entries.append(build_tree(store, data, dsize=SMALL, psize=SMALL))
    return root_of(store, directory(store, entries))


@pytest.mark.parametrize("changed", [0, 150, 299])
async def test_beside_a_whole_tree_only_what_differs_is_looked_at(changed: int) -> None:
    store = CountingStore(BLAKE3)
    old, new = big_tree(store), big_tree(store, changed)
    keys = set(await reachable(store, new)) - set(await reachable(store, old))
    store.calls.clear()
    assert await holes_below(store, new, [old]) == []
    assert len(store.asked) < 60
    assert await holes_below(store, old, [old]) == []
    for key in keys:
        block = store.blocks.pop(key)
        assert await holes_below(store, new, [old]) == [Hole(key, "not here")]
        store.blocks[key] = block


@pytest.mark.parametrize("seed", range(20))
async def test_a_whole_tree_beside_never_hides_a_hole(seed: int) -> None:
    """Any two trees, alike or not: the answer is that of looking at everything."""
    rng = random.Random(seed)
    store = CountingStore(BLAKE3)
    old = root_of(store, random_tree(store, seed))
    new = root_of(store, random_tree(store, seed + rng.choice([0, 100])))
    fresh = [k for k in await reachable(store, new) if k not in set(await reachable(store, old))]
    for key in rng.sample(fresh, len(fresh) // 4):
        del store.blocks[key]
    whole = {h.key for h in await holes_below(store, new, most=10_000)}
    assert {h.key for h in await holes_below(store, new, [old], most=10_000)} == whole


async def test_a_tree_that_is_whole_no_longer_spares_nothing_above_its_hole() -> None:
    store = CountingStore(BLAKE3)
    old, new = big_tree(store), big_tree(store, 150)
    del store.blocks[Key(old, Kind.ROOT)]
    assert await holes_below(store, new, [old]) == []
    assert len(store.asked) > 300


async def test_as_many_holes_as_asked_for() -> None:
    store = CountingStore(BLAKE3)
    score = big_tree(store)
    for key in [key for key in store.blocks if key.kind is Kind.DATA]:
        del store.blocks[key]
    assert len(await holes_below(store, score)) == HOLES_MAX
    assert len(await holes_below(store, score, most=1)) == 1
    assert len(await holes_below(store, Score(bytes([1]) * 32))) == 1
    assert await holes_below(store, BLAKE3.nothing) == []


@pytest.mark.parametrize("name", RECORDED)
async def test_archives_of_real_programs(name: str) -> None:
    store = recorded(name)
    for key in list(store.blocks):
        if key.kind is Kind.ROOT:
            assert await holes_below(store, key.score) == []
