"""How requests get a processor: handlers that are begun in one place and awaited in another, following."""

import os
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from lib9 import processors
from lib9.fuse import follow
from lib9.fuse.loop import going_on
from tests.lib9.mounting import wait_until

STAT = b"77 (a ) b) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9 1 1 2 1 1 1 1 1 0 0 0 1 0 0 0 17 5 0 0"


@pytest.fixture(autouse=True)
def unbound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(processors, "_all", None)
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


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


def test_the_processor_is_read_behind_any_name() -> None:
    assert follow.processor_of(STAT) == 5
    with pytest.raises((ValueError, IndexError)):
        follow.processor_of(b"77 (x) S 1 2")


def _decide(follower: follow.Follower, pid: int, same: int) -> follow.Waiting:
    """Return what becomes of a window, once the scout is back from wherever it was sent."""
    follower.decide(pid, same)
    wait_until(lambda: not follower.scout.busy)
    follower.decide(pid, same)
    return follower.waiting


def test_who_asks_alone_is_followed_and_others_are_not() -> None:
    everywhere = os.sched_getaffinity(0)
    follower = follow.Follower()
    assert processors.bind(min(everywhere))
    me = threading.get_native_id()
    assert _decide(follower, me, follow.ALONE_MIN) == follow.TOGETHER
    assert os.sched_getaffinity(0) == {min(everywhere)}
    follower.decide(me, follow.ALONE_MIN - 1)
    assert follower.waiting == follow.ANYWHERE
    assert os.sched_getaffinity(0) == everywhere
    for nobody in (0, 1 << 30):
        assert _decide(follower, nobody, 64) == follow.ANYWHERE
    follower.end()


def test_who_serves_never_waits_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    monkeypatch.setattr(follow, "find", lambda pid: back.wait(30) and None)
    follower = follow.Follower()
    for _ in range(3 * follow.LOOK_WINDOWS):
        follower.decide(77, 64)  # as when 77 is in execve, and that waits for us
    assert follower.scout.busy
    assert follower.waiting == follow.ANYWHERE
    back.set()
    wait_until(lambda: not follower.scout.busy)
    follower.end()


def test_threads_do_not_inherit_a_binding() -> None:
    everywhere = os.sched_getaffinity(0)
    if len(everywhere) < 2:
        pytest.skip("one processor")
    assert processors.bind(min(everywhere))
    assert os.sched_getaffinity(0) == {min(everywhere)}
    seen: list[set[int]] = []
    thread = threading.Thread(
        target=processors.anywhere(lambda: seen.append(os.sched_getaffinity(0)))
    )
    thread.start()
    thread.join()
    assert seen == [everywhere]
    processors.run_anywhere()
    assert os.sched_getaffinity(0) == everywhere
    assert not processors.bind(max(everywhere) + 1)
