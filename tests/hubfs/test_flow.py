"""Waiting readers and held writers, under a virtual clock."""

import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hubfs.ctl import run_command
from hubfs.flow import Flow, hub_of
from hubfs.limit import HOLD_NS_MAX, Limiter
from hubfs.namespace import Namespace, Node


@pytest.fixture
def names() -> Namespace:
    return Namespace(uid=0, gid=0, now_ns=0)


def make(names: Namespace, name: bytes) -> Node:
    return names.create(names.root, name, 0o644, 0, 0, 0)


async def test_a_write_wakes_every_reader_that_waits(names: Namespace) -> None:
    flow, node = Flow(), make(names, b"a")
    got: list[bytes] = []

    async def read() -> None:
        got.append(await flow.read(node, hub_of(node).attach(), 100))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert all(reader.waiting for reader in hub_of(node).readers.values())
        await flow.write(node, b"news")
    assert got == [b"news"] * 100
    assert not any(reader.waiting for reader in hub_of(node).readers.values())


async def test_a_cancelled_reader_does_not_wait_any_more(names: Namespace) -> None:
    flow, node = Flow(), make(names, b"a")
    reader = hub_of(node).attach()
    with trio.move_on_after(0.01):
        await flow.read(node, reader, 1)
    assert not reader.waiting
    await flow.write(node, b"kept for it")
    assert await flow.read(node, reader, 100) == b"kept for it"


async def test_eof_ends_waiting_reads_once(names: Namespace) -> None:
    flow, node = Flow(), make(names, b"a")
    reader = hub_of(node).attach()
    got: list[bytes] = []

    async def read() -> None:
        got.append(await flow.read(node, reader, 100))
        got.append(await flow.read(node, reader, 100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        flow.apply(run_command(names, b"eof a"))
        await wait_all_tasks_blocked()
        assert got == [b""]
        await flow.write(node, b"goes on")
    assert got == [b"", b"goes on"]


async def test_removing_a_hub_ends_its_readers(names: Namespace) -> None:
    flow, node = Flow(), make(names, b"a")
    got: list[bytes] = []

    async def read() -> None:
        got.append(await flow.read(node, hub_of(node).attach(), 100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        flow.wake(names.remove(names.root, b"a", 0))
    assert got == [b""]


async def test_fear_holds_a_write_until_the_reader_caught_up_or_the_bound(names: Namespace) -> None:
    flow, node = Flow(), make(names, b"a")
    run_command(names, b"fear")
    reader = hub_of(node).attach()
    await flow.write(node, bytes(80_000))
    begun = time.monotonic()
    await flow.write(node, b"stored all the same")
    assert HOLD_NS_MAX / 1e9 <= time.monotonic() - begun < 5
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flow.write, node, b"at once")
        await wait_all_tasks_blocked()
        end = hub_of(node).end
        await flow.read(node, reader, 100_000)
        with trio.fail_after(0.5):
            while hub_of(node).end == end:
                await trio.sleep(0)


async def test_one_hub_held_by_fear_delays_no_other(names: Namespace) -> None:
    flow, held, free = Flow(), make(names, b"a"), make(names, b"b")
    run_command(names, b"fear a")
    hub_of(held).attach()
    await flow.write(held, bytes(80_000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flow.write, held, b"waits")
        await wait_all_tasks_blocked()
        with trio.fail_after(0.1):
            await flow.write(free, b"does not")


async def test_a_limited_write_is_stored_and_its_answer_held(
    names: Namespace, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: int(trio.current_time() * 1e9))
    flow, node = Flow(), make(names, b"a")
    node.limiter = Limiter(bytes_per_second=1000)
    await flow.write(node, bytes(100))
    begun = trio.current_time()
    await flow.write(node, bytes(100))
    assert 0.19 < trio.current_time() - begun < 0.3
    begun = trio.current_time()
    await flow.write(node, bytes(100_000))
    assert trio.current_time() - begun <= HOLD_NS_MAX / 1e9 + 0.001
    assert hub_of(node).end == 100_200


def test_polling_wakes_once(names: Namespace) -> None:
    async def main() -> None:
        flow, node = Flow(), make(names, b"a")
        calls: list[int] = []
        readers = [hub_of(node).attach() for _ in range(50)]
        assert not any(flow.poll(node, r, lambda: calls.append(1)) for r in readers)
        await flow.write(node, b"x")
        await flow.write(node, b"y")
        assert len(calls) == 50
        assert flow.poll(node, readers[0], None)

    trio.run(main)
