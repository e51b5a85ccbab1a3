"""Following between stores: what is carried, in which order, and what is left when something fails."""

import pytest

from lib9.errors import single_error
from replicator.actions import Position
from replicator.ends import LocalLog
from replicator.judging import Judge
from replicator.positions import Direction, MemoryPositions
from replicator.step import follow_once
from tests.replicator.kit import (
    check_closed,
    follow,
    name_record,
    names_in,
    nowhere,
    put_tree,
    rules,
    tree,
)
from venti_store.errors import LogDiverged, StoreError, StoreFull
from venti_store.names.errors import UnknownOrigin
from venti_store.score import BLAKE3, SHA1, Score
from venti_store.stores.counting import CountingStore
from venti_store.stores.memory import MemoryStore


class Store(MemoryStore):
    """A store that says how often it was asked, and fails when told to."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.full_after = None
        self.gets = 0

    async def put_many(self, blocks):
        for block in blocks:
            if self.full_after == 0:
                raise StoreFull("full by intent")
            await super().put_many([block])
            if self.full_after is not None:
                self.full_after -= 1

    async def get_many(self, keys):
        self.gets += len(keys)
        return await super().get_many(keys)


def rot(store, block):
    store.blocks[block.score, block.kind] = b"rot".ljust(len(block.data))


@pytest.fixture
def source():
    return Store(store_id="source")


@pytest.fixture
def store():
    return Store(store_id="store")


async def test_a_log_is_carried_whole_and_in_its_order(source, store):
    trees = [tree(n) for n in range(3)]
    for n, made in enumerate(trees):
        await put_tree(source, made, f"usr.{n}")
    await source.append_name(name_record("usr.9", None))
    positions = []
    done = await follow(source, store, on_position=positions.append)
    for kind in (True, False):  # names may come later among the blocks, never earlier
        theirs = [r.score for r in source.log() if (r.kind is None) is kind]
        assert [r.score for r in store.log() if (r.kind is None) is kind] == theirs
    assert done.progress.names == 4
    assert done.progress.caught_up
    last = list(source.log())[-1]
    assert positions[-1] == Position("source", last.number, last.score)
    await check_closed(store)
    again = await follow(source, store, positions[-1])
    assert (again.progress.blocks, again.progress.known) == (0, 0)


async def test_names_that_are_there_cost_no_append(source, store):
    made = tree(1)
    await put_tree(source, made, "usr.1")
    await put_tree(store, made, "usr.1")
    await source.append_name(name_record("usr.2", made.root))
    appended = []
    append = store.append_names
    store.append_names = lambda records: appended.extend(records) or append(records)
    done = await follow(source, store)
    assert appended == [name_record("usr.2", made.root)]
    assert done.progress.names == 1
    assert done.follower.position().number == source.last_number()


async def test_what_is_there_is_not_fetched(source, store):
    made = tree(1)
    await put_tree(source, made, "usr.1")
    await store.put_many(made.blocks[:-3])
    source.gets = 0
    done = await follow(source, store)
    assert (done.progress.blocks, done.progress.known) == (3, len(made.blocks) - 3)
    assert source.gets == 3


async def test_no_record_is_lost_among_ten_who_save_during_a_merge(source, store):
    import trio

    for n in range(20):
        await put_tree(source, tree(n), f"usr.{n}")

    async def save(n):
        await trio.lowlevel.checkpoint()
        await put_tree(store, tree(("here", n)), f"sys.{n}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, source, store)
        for n in range(10):
            nursery.start_soon(save, n)
    assert len(set(names_in(store))) == 30
    await check_closed(store)


async def test_a_full_store_loses_nothing_and_goes_on_when_there_is_room(source, store):
    made = tree(1, files=8)
    await put_tree(source, made, "usr.1")
    store.full_after = 20
    positions = []
    with pytest.raises(BaseExceptionGroup) as raised:
        await follow(source, store, on_position=positions.append)
    assert isinstance(single_error(raised.value), StoreFull)
    assert names_in(store) == []
    store.full_after = None
    await follow(source, store, positions[-1] if positions else None)
    assert len(names_in(store)) == 1
    await check_closed(store)


async def test_a_corrupt_block_makes_a_hole_until_another_peer_gives_it(source, store):
    made, other = tree(1), tree(2)
    await put_tree(source, made, "usr.1")
    await put_tree(source, other, "usr.2")
    rot(source, made.blocks[2])
    done = await follow(source, store)
    assert [hole.key.score for hole in done.follower.holes] == [made.blocks[2].score]
    assert names_in(store) == []
    assert done.follower.position().number == 2
    fourth = MemoryStore()
    await fourth.put_many(made.blocks)
    done = await follow(source, store, done.follower.position(), others=[fourth.get_many])
    assert done.follower.holes == []
    assert len(names_in(store)) == 2
    await check_closed(store)


async def test_a_log_that_leaves_out_blocks_makes_no_name_visible(source, store):
    made, honest = tree(1), tree(2)
    await source.put_many(made.blocks[1:])
    await source.append_name(name_record("usr.1", made.root))
    await put_tree(source, honest, "usr.2")
    done = await follow(source, store)
    assert names_in(store) == []
    assert [hole.key.score for hole in done.follower.holes] == [made.blocks[0].score]
    await source.put_many(made.blocks[:1])  # it is there after all
    done = await follow(source, store, done.follower.position())
    assert len(names_in(store)) == 2
    await check_closed(store)


async def test_our_own_rot_below_a_name_is_mended(source, store):
    made = tree(1)
    await put_tree(source, made, "usr.1")
    await store.put_many(made.blocks)
    upper = made.blocks[-1]
    rot(store, upper)
    await follow(source, store)
    assert len(names_in(store)) == 1
    await check_closed(store)


async def test_names_that_are_not_to_be_trusted_stay_behind_and_hold_up_nobody(source, store):
    made = tree(1)
    await put_tree(source, made, "bad.1")
    await source.append_name(name_record("usr.2", Score(b"x" * 20)))
    await source.append_name(name_record("usr.1", made.root))
    nonsense = BLAKE3.score(b"no root")
    from venti_store.interfaces import Block
    from venti_store.kind import Kind

    await source.put_many([Block(nonsense, Kind.ROOT, b"no root")])
    await source.append_name(name_record("usr.3", nonsense))
    done = await follow(source, store)
    assert names_in(store) == [name_record("usr.1", made.root)]
    assert done.progress.refused_count == 3
    assert "bad by intent" in done.progress.refused[0]
    assert "of another hash" in done.progress.refused[1]
    assert done.follower.position().number == source.last_number()


async def test_names_of_strangers_are_judged_again_when_others_are_accepted(source, store):
    known = {"usr"}

    def signers(record):
        named = rules(record)
        if named.label.partition(".")[0] not in known:
            raise UnknownOrigin(f"{named.label}: by a stranger")
        return named

    await put_tree(source, tree(1), "usr.1")
    await put_tree(source, tree(2), "new.1")
    await put_tree(source, tree(3), "odd.1")
    positions = MemoryPositions()
    judge = Judge(store, signers)

    async def step(accepts):
        return await follow_once(
            Direction.PULL, LocalLog(source), LocalLog(store), positions, judge, accepts=accepts
        )

    assert (await step("usr")).progress.refused_count == 2
    await put_tree(source, tree(4), "usr.2")
    assert (await step("usr")).progress.refused_count == 0
    known.add("new")
    again = await step("usr new")
    assert (again.progress.names, again.progress.blocks, again.progress.refused_count) == (1, 0, 1)
    assert (await step("usr new")).progress.number == 0  # read nothing
    known.add("odd")
    assert (await step("usr new odd")).progress.names == 1
    assert len(names_in(store)) == 4
    saved = positions.load(Direction.PULL, source.store_id, store.store_id)
    assert (saved.strange, saved.position.number) == (None, source.last_number())
    await check_closed(store)


async def test_a_source_that_was_set_back_is_noticed(source, store):
    await put_tree(source, tree(1), "usr.1")
    done = await follow(source, store)
    position = done.follower.position()
    older = MemoryStore(store_id="source")
    await put_tree(older, tree(1))
    for _ in range(2):
        with pytest.raises(BaseExceptionGroup) as raised:
            await follow_on(older, store, position)
        assert isinstance(single_error(raised.value), LogDiverged)
        await put_tree(older, tree(3), "usr.3")  # longer than before, and another
    await follow(older, store, nowhere(older))
    assert len(names_in(store)) == 2


async def follow_on(source, store, position):
    import trio

    from replicator.follower import Follower
    from replicator.following import Following

    with trio.fail_after(10):
        await Following(LocalLog(source), store, Follower(position), Judge(store, rules)).run()


async def test_one_change_costs_what_changed(source, store):
    made = tree(1, files=60)
    await put_tree(source, made, "usr.1")
    judge = Judge(CountingStore(store), rules)
    done = await follow(source, store, judge=judge)
    from tests.replicator.kit import changed

    after = changed(1, files=60)
    await put_tree(source, after, "usr.2")
    judge._store.counted.blocks_read = source.gets = 0
    done = await follow(source, store, done.follower.position(), judge=judge)
    new = {b.score for b in after.blocks} - {b.score for b in made.blocks}
    assert source.gets == done.progress.blocks == len(new)
    assert judge._store.counted.blocks_read < 4 * len(new) + 10
    await check_closed(store)


async def test_a_source_of_another_hash_is_no_source():
    source, store = MemoryStore(SHA1), MemoryStore(BLAKE3)
    await put_tree(source, tree(1, family=SHA1))
    with pytest.raises(BaseExceptionGroup) as raised:
        await follow(source, store)
    assert isinstance(single_error(raised.value), StoreError)
