"""Copy on write: whatever was changed, the tree is the one a builder makes of the new contents."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.waiting import run_now
from tests.venti_store.hashtree.support import SMALL, CountingStore, build, contents, families
from venti_store.errors import BadTree, NoSuchBlock, TreeTooLarge
from venti_store.hashtree.build import TreeBuilder
from venti_store.hashtree.entry import Entry, pack_entry
from venti_store.hashtree.read import read
from venti_store.hashtree.slots import read_slots
from venti_store.hashtree.update import WINDOW, update
from venti_store.interfaces import Batch
from venti_store.kind import pointer
from venti_store.score import BLAKE3, SHA1, Family


def differences(old: bytes, new: bytes) -> list[tuple[int, bytes]]:
    """Return the leaves that a writer would call changed."""
    padded = old.ljust(len(new), b"\0")
    changes = []
    for number, at in enumerate(range(0, len(new), SMALL)):
        leaf = new[at : at + SMALL]
        cut = len(new) < len(old) and at + SMALL >= len(new)
        if leaf != padded[at : at + SMALL] or cut:
            changes.append((number, leaf))
    return changes


@st.composite
def edits(draw: st.DrawFn) -> tuple[bytes, bytes]:
    old = draw(contents(30_000))
    new = bytearray(old)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(old), 1) * 5 // 4))
        piece = draw(st.sampled_from([b"y", b"\0" * 300, b"z" * 700, b"\0" * 5000]))
        if at > len(new):
            new += bytes(at - len(new))
        new[at : at + len(piece)] = piece
    size = draw(st.one_of(st.none(), st.integers(0, 60_000), st.sampled_from([0, 256, 2048, 2049])))
    if size is not None:
        new = new[:size].ljust(size, b"\0")
    return old, bytes(new)


@given(families, edits(), st.integers(0, 2))
def test_an_update_is_the_tree_of_the_new_contents(
    family: Family, edit: tuple[bytes, bytes], deeper: int
) -> None:
    old, new = edit
    store, wanted = CountingStore(family), CountingStore(family)
    entry = build(store, old)
    for _ in range(deeper):  # a depth greater than needed is legal
        top = store.put(pointer(entry.depth + 1), b"" if not any(old) else entry.score)
        entry = replace(entry, score=top, depth=entry.depth + 1)
    before = set(store.blocks)
    batch = Batch(family)
    changed = run_now(update(store, batch, entry, differences(old, new), size=len(new)))
    run_now(store.put_many(batch.take()))
    assert changed == build(wanted, new)
    assert set(store.blocks) - before <= set(wanted.blocks)  # nothing is written in vain
    assert run_now(read(store, changed, 0, len(new))) == new


@pytest.mark.parametrize("family", [SHA1, BLAKE3], ids=lambda f: f.name)
def test_one_changed_leaf_costs_the_blocks_above_it(family: Family) -> None:
    store = CountingStore(family)
    old = b"x" * 400_000
    entry = build(store, old)
    batch = Batch(family)
    changed = run_now(update(store, batch, entry, [(700, b"new")], size=entry.size))
    assert len(store.asked) == entry.depth >= 3
    assert len(batch.blocks) == 1 + entry.depth
    again = Batch(family)
    assert run_now(update(store, again, entry, [], size=entry.size)) == entry
    assert run_now(update(store, again, entry, [(700, b"x" * SMALL)], size=entry.size)) == entry
    assert [block.data for block in again.blocks] == [b"x" * SMALL]
    run_now(store.put_many(batch.take()))
    assert run_now(read(store, changed, 700 * SMALL, 5)) == b"new\0\0"


def test_growth_to_terabytes_and_back_costs_a_few_blocks() -> None:
    store = CountingStore(BLAKE3)
    builder = TreeBuilder(store, dsize=65536, psize=8192)
    builder.write(b"a" * 300_000)
    entry = builder.finish()
    large = run_now(update(store, store, entry, [], size=200 << 40))
    assert (large.depth, len(store.blocks)) == (4, 2 + 1 + 3)
    assert run_now(read(store, large, 299_998, 4)) == b"aa\0\0"
    assert run_now(update(store, store, large, [(4, b"a" * 37856)], size=300_000)) == entry
    with pytest.raises(TreeTooLarge):
        run_now(update(store, store, entry, [], size=1 << 48))


def test_pointer_blocks_are_fetched_a_level_at_a_time() -> None:
    store = CountingStore(BLAKE3)
    entry = build(store, b"x" * (SMALL * 512))
    run_now(
        update(store, Batch(BLAKE3), entry, ((n, b"y") for n in range(0, 512, 8)), size=entry.size)
    )
    assert [len(call) for call in store.calls] == [1, 8, 64]


@pytest.mark.parametrize("count", [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 1])
def test_more_changes_than_fit_a_window_and_blocks_handed_on_between_them(count: int) -> None:
    store, wanted = CountingStore(SHA1), CountingStore(SHA1)
    size = 3 * WINDOW * SMALL
    entry = build(store, b"o" * size)
    batch = Batch(SHA1)
    new = bytearray(b"o" * size)

    async def changes() -> AsyncIterator[tuple[int, bytes]]:
        for number in range(count):
            leaf = b"%d" % number * 50
            new[number * SMALL : (number + 1) * SMALL] = leaf[:SMALL].ljust(SMALL, b"\0")
            yield number, leaf[:SMALL]
            if len(batch.blocks) > 20:
                await store.put_many(batch.take())

    changed = run_now(update(store, batch, entry, changes(), size=size))
    assert changed == build(wanted, bytes(new))


@pytest.mark.parametrize(
    "changes", [[(1, b"a"), (1, b"b")], [(2, b"a"), (1, b"b")], [(4, b"a")], [(-1, b"a")]]
)
def test_changes_out_of_order_or_range_are_refused(changes: list[tuple[int, bytes]]) -> None:
    store = CountingStore(SHA1)
    entry = build(store, b"x" * 1000)
    with pytest.raises(ValueError, match="leaf"):
        run_now(update(store, store, entry, changes, size=1000))


def test_a_leaf_that_does_not_fit_is_refused() -> None:
    store = CountingStore(SHA1)
    entry = build(store, b"x" * 1000)
    with pytest.raises(ValueError, match="257 bytes"):
        run_now(update(store, store, entry, [(0, b"x" * 257)], size=1000))


def test_a_directory_s_leaf_is_replaced() -> None:
    store = CountingStore(BLAKE3)
    slots = [Entry(BLAKE3.score(b"%d" % n), n, 256, 256, 0) for n in range(20)]
    builder = TreeBuilder(store, dsize=SMALL, psize=SMALL, directory=True)
    for slot in slots:
        builder.write(pack_entry(BLAKE3, slot))
    top = builder.finish()
    slots[5] = replace(slots[5], gen=9)
    leaf = b"".join(pack_entry(BLAKE3, slot) for slot in slots[4:8])
    changed = run_now(update(store, store, top, [(1, leaf)], size=top.size))
    assert run_now(read_slots(store, changed, 0, 20)) == slots
    with pytest.raises(ValueError, match="at most 208"):
        run_now(update(store, store, top, [(1, leaf + b"x")], size=top.size))


@given(families, st.binary(max_size=256), st.integers(1, 3), st.integers(0, 60_000), st.data())
def test_any_old_tree_is_updated_or_refused(
    family: Family, block: bytes, depth: int, size: int, draw: st.DataObject
) -> None:
    """A hostile tree: pointer blocks of any bytes, that lead to each other or nowhere."""
    store = CountingStore(family)
    lower = store.put(pointer(1), block)
    score = store.put(pointer(depth), (lower * draw.draw(st.integers(1, 14)))[:270])
    leaves = draw.draw(st.integers(0, (256 // family.size) ** depth))
    old = Entry(score, leaves * SMALL, SMALL, SMALL, depth)
    last = -(-size // SMALL) - 1
    changes = [(n, b"new") for n in sorted({0, last // 2, last}) if 0 <= n <= last]
    try:
        changed = run_now(update(store, store, old, changes, size=size))
    except (BadTree, NoSuchBlock):
        return
    assert changed.size == size
    for number, _ in changes:
        assert run_now(read(store, changed, number * SMALL, 3)) == b"new"[: size - number * SMALL]
