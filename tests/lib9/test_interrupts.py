"""Which signals end a wait, and how requests are held."""

import os
from collections.abc import Sequence
from signal import SIGCHLD, SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGTSTP, SIGUSR1, SIGWINCH
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lib9.fuse import interrupts
from lib9.fuse.interrupts import LOOK_SECONDS, Interrupts, ends_wait, signalled


def status(
    own: Sequence[int] = (),
    shared: Sequence[int] = (),
    blocked: Sequence[int] = (),
    caught: Sequence[int] = (),
) -> bytes:
    def mask(numbers: Sequence[int]) -> str:
        return f"{sum(1 << n - 1 for n in numbers):016x}"

    return (
        f"Name:\tsed\nThreads:\t1\nSigQ:\t0/96000\nSigPnd:\t{mask(own)}\nShdPnd:\t{mask(shared)}\n"
        f"SigBlk:\t{mask(blocked)}\nSigIgn:\t{mask([])}\nSigCgt:\t{mask(caught)}\nCapInh:\t0\n"
    ).encode()


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (status(), False),
        (status(shared=[SIGSTOP]), False),
        (status(own=[SIGSTOP], shared=[SIGCONT]), False),
        (status(shared=[SIGCONT], caught=[SIGCONT]), True),
        (status(shared=[SIGSTOP, SIGTERM]), True),
        (status(own=[SIGKILL], shared=[SIGINT]), True),
        (status(shared=[SIGTSTP]), True),
        (status(shared=[SIGWINCH], caught=[SIGWINCH]), True),
        (status(shared=[SIGUSR1], blocked=[SIGUSR1]), False),
        (status(shared=[SIGCHLD], caught=[SIGCHLD]), False),
        (status(own=[SIGINT], shared=[SIGCHLD], caught=[SIGINT, SIGCHLD]), True),
    ],
)
def test_what_ends_a_wait(text: bytes, ends: bool) -> None:
    assert ends_wait(text) is ends


def test_processes() -> None:
    assert not signalled(os.getpid())
    assert signalled(0)  # one that cannot be seen


async def test_a_held_request_ends_with_a_later_signal_and_nothing_is_left_to_do(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    looks: list[float] = []
    fatal = False

    def look(_pid: int) -> bool:
        looks.append(trio.current_time())
        return fatal

    monkeypatch.setattr(interrupts, "signalled", look)
    monkeypatch.setattr(interrupts, "time", SimpleNamespace(thread_time=lambda: 0.0))
    held = Interrupts()
    scope, ended = trio.CancelScope(), trio.CancelScope()
    held.waiting = {1: (scope, 10), 2: (ended, 11)}
    held.interrupt(3)  # answered meanwhile
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held.watch)
        await trio.sleep(100)
        assert looks == []
        held.interrupt(1)
        held.interrupt(2)
        await trio.sleep(10 * LOOK_SECONDS)
        assert not scope.cancel_called
        del held.waiting[2]
        fatal = True
        await trio.sleep(2 * LOOK_SECONDS)
        assert scope.cancel_called
        del held.waiting[1]
        await wait_all_tasks_blocked()
        count = len(looks)
        await trio.sleep(100)
        assert len(looks) == count
        nursery.cancel_scope.cancel()
