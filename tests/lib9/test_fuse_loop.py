"""How requests get a processor: handlers that are begun in one place and awaited in another, looking."""

import itertools
from typing import NamedTuple

import pytest
import trio
import trio.testing

from lib9.fuse import looking
from lib9.fuse.looking import Lookout
from lib9.fuse.loop import going_on


def test_a_handler_goes_on_where_it_waited() -> None:
    got: list[object] = []

    async def handler(receive: trio.MemoryReceiveChannel[int]) -> None:
        got.append(await receive.receive())
        try:
            await receive.receive()
        except trio.EndOfChannel:
            got.append("end")

    async def begin_and_await() -> None:
        send, receive = trio.open_memory_channel[int](0)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def begun_here() -> None:
                begun = handler(receive)
                await going_on(begun, begun.send(None), failed.append)

            await trio.testing.wait_all_tasks_blocked()
            await send.send(7)
            send.close()

    failed: list[Exception] = []
    trio.run(begin_and_await)
    assert (got, failed) == ([7, "end"], [])


def test_a_cancelled_wait_reaches_the_handler_and_its_scope() -> None:
    async def handler() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    async def cancel_it() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            begun = handler()
            await going_on(begun, begun.send(None), failed.append)
        assert scope.cancelled_caught

    ended: list[bool] = []
    failed: list[Exception] = []
    trio.run(cancel_it)
    assert (ended, failed) == ([True], [])


def test_what_a_handler_raises_after_its_wait_is_told() -> None:
    async def handler() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("x")

    async def await_it() -> None:
        begun = handler()
        await going_on(begun, begun.send(None), failed.append)

    failed: list[Exception] = []
    trio.run(await_it)
    assert [str(error) for error in failed] == ["'x'"]


class Preempted(NamedTuple):
    ru_nivcsw: int


@pytest.fixture
def preempted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the kernel took the processor away before each window, the next one first."""
    counts: list[int] = []
    total = itertools.accumulate(iter(lambda: counts.pop(0) if counts else 0, None))
    monkeypatch.setattr(looking, "getrusage", lambda whose: Preempted(next(total)))
    return counts


def test_a_daemon_goes_on_looking_while_that_pays(preempted: list[int]) -> None:
    lookout = Lookout(eager=True)
    for missed in (0, 3, looking.MISSED_MAX):
        lookout.decide(missed)
        assert lookout.waiting == looking.EAGER
    lookout.decide(looking.MISSED_MAX + 1)  # requests are rare
    assert lookout.waiting == looking.ASLEEP


def test_a_daemon_whose_processor_is_wanted_sleeps_and_tries_again(preempted: list[int]) -> None:
    lookout = Lookout(eager=True)
    preempted += [looking.PREEMPTED_MAX, looking.PREEMPTED_MAX + 1]
    lookout.decide(0)
    assert lookout.waiting == looking.EAGER
    for _ in range(looking.TRY_WINDOWS):
        lookout.decide(0)
        assert lookout.waiting == looking.ASLEEP
    lookout.decide(0)
    assert lookout.waiting == looking.EAGER


def test_who_is_not_eager_looks_briefly() -> None:
    assert Lookout(eager=False).waiting == looking.BRIEF
