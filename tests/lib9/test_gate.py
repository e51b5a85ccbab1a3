"""The gate: who is inside is waited for, who comes later waits."""

import trio
from trio.testing import wait_all_tasks_blocked

from lib9.fuse.gate import Gate


async def test_close_waits_for_those_inside() -> None:
    gate = Gate()
    gate.inside = 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.close)
        await wait_all_tasks_blocked()
        assert gate.closed
        gate.inside -= 1
        gate.left()
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        gate.inside -= 1
        gate.left()
    await gate.close()  # harmless when repeated


async def test_who_waits_goes_on_when_it_opens_and_not_before() -> None:
    gate = Gate()
    await gate.close()
    gone = []

    async def change() -> None:
        await gate.wait()
        gone.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        nursery.start_soon(change)
        await wait_all_tasks_blocked()
        assert (gate.waiting, gone) == (2, [])
        gate.open()
    assert (gate.waiting, len(gone)) == (0, 2)


async def test_a_wait_can_be_given_up() -> None:
    gate = Gate()
    await gate.close()
    with trio.move_on_after(0):
        await gate.wait()
    assert gate.waiting == 0
