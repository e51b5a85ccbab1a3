"""What every store must do. A test module makes a class of it and says how a store is made:

    class TestMemoryStore(BlockStoreContract):
        @pytest.fixture
        def make_store(self): return MemoryStore

`make_store(family)` gives an open store, empty; the test closes it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from lib9.waiting import run_now
from venti_store.codec import NAME_SIZE_MAX, block_size_max
from venti_store.errors import BlockTooLarge, HashMismatch, NoSuchBlock
from venti_store.interfaces import AtOnce, Batch, Block, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, FAMILIES, Family

MakeStore = Callable[[Family], Awaitable[Any]]


def blocks_of(family: Family, *datas: bytes, kind: Kind = Kind.DATA) -> list[Block]:
    return [Block(family.score(data), kind, data) for data in datas]


def keys_of(blocks: list[Block]) -> list[Key]:
    return [Key(block.score, block.kind) for block in blocks]


def sizes(family: Family) -> list[bytes]:
    """Blocks of every interesting size: they compress well, badly, or not at all."""
    limit = block_size_max(family)
    noise = b"".join(family.score(b"%d" % n) for n in range(limit // family.size + 1))
    ends = [1, 2, 63, 64, 65, 4096, 8191, 8192, 8193, limit - 1, limit]
    return [noise[:n] for n in ends] + [b"spawn " * n for n in (1, 20, 1300, limit // 6)]


class BlockStoreContract:
    """Tests of BlockStore."""

    @pytest.fixture(params=sorted(FAMILIES))
    async def store(self, request: pytest.FixtureRequest, make_store: MakeStore) -> Any:
        store = await make_store(FAMILIES[request.param])
        yield store
        await store.aclose()

    async def test_blocks_come_back_before_and_after_sync(self, store: Any) -> None:
        blocks = blocks_of(store.family, *sizes(store.family))
        await store.put_many(blocks)
        assert await store.get_many(keys_of(blocks)) == [block.data for block in blocks]
        await store.sync()
        assert await store.get_many(keys_of(blocks)[::-1]) == [b.data for b in blocks[::-1]]
        assert all(await store.have_many(keys_of(blocks)))

    async def test_who_answers_at_once_never_waits(self, store: Any) -> None:
        if not (isinstance(store, AtOnce) and store.at_once):
            return
        blocks = blocks_of(store.family, b"", *sizes(store.family))
        await store.put_many(blocks)
        for _ in range(2):
            assert run_now(store.get_many(keys_of(blocks))) == [block.data for block in blocks]
            assert all(run_now(store.have_many(keys_of(blocks))))
            await store.sync()
        with pytest.raises(NoSuchBlock):
            run_now(store.get_many(keys_of(blocks_of(store.family, b"elsewhere"))))

    async def test_the_same_bytes_of_two_kinds_are_two_blocks(self, store: Any) -> None:
        data = blocks_of(store.family, b"same")
        await store.put_many(data)
        other = Key(data[0].score, Kind.DIRECTORY)
        assert await store.have_many([*keys_of(data), other]) == [True, False]
        with pytest.raises(NoSuchBlock):
            await store.get_many([other])
        await store.put_many(blocks_of(store.family, b"same", kind=Kind.DIRECTORY))
        assert await store.get_many([other]) == [b"same"]

    async def test_every_kind_is_kept(self, store: Any) -> None:
        blocks = [blocks_of(store.family, b"kind %d" % kind, kind=kind)[0] for kind in Kind]
        await store.put_many(blocks)
        await store.sync()
        assert await store.get_many(keys_of(blocks)) == [block.data for block in blocks]

    async def test_nothing_is_always_there(self, store: Any) -> None:
        nothing = [
            Key(store.family.nothing, Kind.DATA),
            Key(bytes(store.family.size), Kind.POINTER1),
        ]
        assert await store.get_many(nothing) == [b"", b""]
        assert await store.have_many(nothing) == [True, True]
        await store.put_many([Block(store.family.nothing, Kind.DATA, b"")])
        assert await store.get_many([]) == []

    async def test_what_is_not_there_is_named(self, store: Any) -> None:
        here = blocks_of(store.family, b"here")
        await store.put_many(here)
        gone = store.family.score(b"gone")
        assert await store.have_many([Key(gone, Kind.DATA), *keys_of(here)]) == [False, True]
        with pytest.raises(NoSuchBlock, match=gone.hex()):
            await store.get_many([*keys_of(here), Key(gone, Kind.DATA)])

    async def test_buffers_may_be_reused_after_put(self, store: Any) -> None:
        data = bytearray(b"before" * 100)
        score = store.family.score(bytes(data))
        await store.put_many([Block(score, Kind.DATA, memoryview(data))])
        data[:] = b"AFTER!" * 100
        await store.sync()
        assert await store.get_many([Key(score, Kind.DATA)]) == [b"before" * 100]

    async def test_a_block_that_is_too_large_is_refused(self, store: Any) -> None:
        data = b"x" * (block_size_max(store.family) + 1)
        with pytest.raises(BlockTooLarge):
            await store.put_many(blocks_of(store.family, data))

    async def test_scores_of_another_family_are_refused(self, store: Any) -> None:
        other = next(family for family in FAMILIES.values() if family is not store.family)
        with pytest.raises(HashMismatch):
            await store.put_many(blocks_of(other, b"x"))
        for ask in (store.get_many, store.have_many):
            with pytest.raises(HashMismatch):
                await ask([Key(other.score(b"x"), Kind.DATA)])

    async def test_a_batch_can_be_put_twice(self, store: Any) -> None:
        batch = Batch(store.family)
        scores = [batch.put(Kind.DATA, b"%d" % n) for n in range(300)] * 2
        blocks = batch.take()
        await store.put_many(blocks + blocks)
        await store.put_many(blocks)
        await store.sync()
        got = await store.get_many([Key(score, Kind.DATA) for score in scores])
        assert got == [b"%d" % n for n in range(300)] * 2

    async def test_many_large_blocks_of_both_codings(self, store: Any) -> None:
        limit = min(block_size_max(store.family), 64 << 10)
        text = [(b"%08d spawn grid " % n) * (limit // 20) for n in range(12)]
        noise = [
            b"".join(store.family.score(b"%d %d" % (n, m)) for m in range(limit // 32))
            for n in range(12)
        ]
        blocks = blocks_of(
            store.family, *(data for pair in zip(text, noise, strict=True) for data in pair)
        )
        await store.put_many(blocks)
        await store.sync()
        assert await store.get_many(keys_of(blocks)) == [block.data for block in blocks]

    async def test_closing_twice_is_harmless(self, make_store: MakeStore) -> None:
        store = await make_store(BLAKE3)
        await store.put_many(blocks_of(BLAKE3, b"x"))
        await store.aclose()
        await store.aclose()


class BlockViewsContract:
    """Tests of BlockViews."""

    async def test_views_are_the_blocks(self, make_store: MakeStore) -> None:
        store = await make_store(BLAKE3)
        blocks = blocks_of(BLAKE3, *sizes(BLAKE3))
        await store.put_many(blocks)
        for _ in range(2):
            nothing = Key(BLAKE3.nothing, Kind.DATA)
            with store.views([*keys_of(blocks), nothing]) as views:
                assert [bytes(view) for view in views] == [b.data for b in blocks] + [b""]
            await store.sync()
        with pytest.raises(NoSuchBlock), store.views([Key(BLAKE3.score(b"gone"), Kind.DATA)]):
            pass
        await store.aclose()


class LogContract:
    """Tests of LogStore."""

    async def test_the_log_has_everything_in_order(self, make_store: MakeStore) -> None:
        store = await make_store(BLAKE3)
        blocks = blocks_of(BLAKE3, b"one", b"two" * 5000, b"one", b"three")
        await store.put_many(blocks)
        assert await store.append_name(b"scorename=a\n") == 4
        await store.put_many(blocks_of(BLAKE3, b"four", kind=Kind.ROOT))
        assert await store.append_name(b"scorename=a\n") == 4
        await store.sync()
        assert store.last_number() == 5
        records = list(store.log())
        assert [r.number for r in records] == [1, 2, 3, 4, 5]
        assert [r.data for r in records] == [
            b"one", b"two" * 5000, b"three", b"scorename=a\n", b"four",
        ]  # fmt: skip
        assert [r.kind for r in records] == [Kind.DATA] * 3 + [None, Kind.ROOT]
        assert [r.score for r in records] == [BLAKE3.score(r.data) for r in records]
        assert list(store.log(4)) == records[3:]
        entries = [(e.number, e.kind, e.score, e.size) for e in store.entries(2)]
        assert entries == [(r.number, r.kind, r.score, len(r.data)) for r in records[1:]]
        assert list(store.log(6)) == []
        await store.aclose()

    async def test_a_reader_of_the_log_sees_what_comes_later(self, make_store: MakeStore) -> None:
        store = await make_store(BLAKE3)
        await store.put_many(blocks_of(BLAKE3, b"one"))
        await store.sync()
        entries = store.log()
        assert next(entries).data == b"one"
        await store.put_many(blocks_of(BLAKE3, b"two"))
        await store.sync()
        assert next(entries).data == b"two"
        assert list(entries) == []
        await store.aclose()

    async def test_name_records_are_found_without_the_blocks_between(
        self, make_store: MakeStore
    ) -> None:
        store = await make_store(BLAKE3)
        names = [b"scorename=%d\n" % n for n in range(3)]
        assert await store.append_names([]) == []
        assert await store.append_names(names[:2]) == [1, 2]
        await store.put_many(blocks_of(BLAKE3, b"one"))
        assert await store.append_names([names[1], names[2]]) == [2, 4]
        await store.put_many(blocks_of(BLAKE3, b"two"))
        await store.sync()
        assert list(store.names()) == [r for r in store.log() if r.kind is None]
        assert [r.number for r in store.names(2)] == [2, 4]
        assert [r.data for r in store.names(3)] == [names[2]]
        assert list(store.names(5)) == []
        with pytest.raises(BlockTooLarge):
            await store.append_names([b"good", b""])
        assert [r.number for r in store.names()] == [1, 2, 4]
        await store.aclose()

    async def test_several_names_in_one_go(self, make_store: MakeStore) -> None:
        store = await make_store(BLAKE3)
        await store.put_many(blocks_of(BLAKE3, b"one"))
        assert await store.append_names([b"a", b"b", b"a"]) == [2, 3, 2]
        assert await store.append_names([b"c", b"b"]) == [4, 3]
        assert await store.append_names([]) == []
        assert [r.data for r in store.log()] == [b"one", b"a", b"b", b"c"]
        scores = [BLAKE3.score(data) for data in (b"a", b"one", b"c", b"d")]
        assert await store.have_names(scores) == [True, False, True, False]
        await store.aclose()

    async def test_waiting_for_the_log_to_grow(self, make_store: MakeStore) -> None:
        store = await make_store(BLAKE3)
        woken: list[int] = []

        async def wait(number: int) -> None:
            await store.wait_log(number)
            woken.append(number)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in (1, 2, 2):
                    nursery.start_soon(wait, number)
                await trio.testing.wait_all_tasks_blocked()
                assert woken == []
                await store.append_name(b"a")
                while woken != [1]:
                    await trio.sleep(0)
                await store.append_name(b"b")
            assert woken == [1, 2, 2]
            await store.wait_log(2)  # at once
        await store.aclose()

    async def test_limits_of_a_name_record(self, make_store: MakeStore) -> None:
        store = await make_store(BLAKE3)
        await store.append_name(b"n" * NAME_SIZE_MAX)
        for bad in (b"", b"n" * (NAME_SIZE_MAX + 1)):
            with pytest.raises(BlockTooLarge):
                await store.append_name(bad)
        await store.aclose()
