"""Which waiting request ends with EINTR when a signal comes, and which goes on as if it had not.

The kernel tells us of a signal to who waits, once for each request. A signal that stops the process
and lets it go on again (SIGSTOP, SIGCONT) must not end its read: sed, awk and most C programs take
EINTR for a failure. Nor must SIGCHLD, for which every shell has a handler: of a pipe its read or write
would go on by itself (SA_RESTART), but what we answer reaches it, and bash gives up the echo, and BusyBox'
ash takes it for the end. So we look at what is pending: a signal that ends the process, runs a handler
or is Ctrl-Z ends the wait; otherwise the request is *held*, and looked at again from time to time, since
no second word will come from the kernel. Nothing held, nothing wakes up.

Source: proc(5), the signal masks of /proc/PID/status; request_wait_answer() of Linux' fuse/dev.c.
"""

import time
from signal import SIGCHLD, SIGCONT, SIGSTOP

import trio

LOOK_SECONDS = 0.05  # how soon a fatal signal is seen by who was stopped before
LOOK_SHARE_MAX = 0.02  # of a processor: with very many held, looks become rarer

_NAMES = (b"SigPnd:", b"ShdPnd:", b"SigBlk:", b"SigCgt:")


def _bit(number: int) -> int:
    return 1 << number - 1


def ends_wait(status: bytes) -> bool:
    """Tell from the text of /proc/PID/status whether a pending signal has to end a wait."""
    masks = dict.fromkeys(_NAMES, 0)
    for line in status.splitlines():
        name, _, value = line.partition(b"\t")
        if name in masks:
            masks[name] = int(value, 16)
    own, shared, blocked, caught = masks.values()
    pending = (own | shared) & ~blocked & ~_bit(SIGSTOP) & ~_bit(SIGCHLD)
    if not caught & _bit(SIGCONT):
        pending &= ~_bit(SIGCONT)
    return bool(pending)


def signalled(pid: int) -> bool:
    """Tell whether thread `pid` has to be let go; True where that cannot be seen."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            return ends_wait(file.read(8192))
    except OSError:
        return True


class Interrupts:
    """The requests of one mount that may wait, and those of them that are held."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[trio.CancelScope, int]] = {}
        self._held: dict[int, None] = {}
        self._some_held = trio.Event()

    def interrupt(self, unique: int) -> None:
        """A signal came for who waits for this request."""
        if unique in self.waiting and not self._end(unique):
            self._held[unique] = None
            self._some_held.set()

    def end_all(self) -> None:
        """Nobody waits any more: the connection is gone."""
        for scope, _ in self.waiting.values():
            scope.cancel()

    async def watch(self) -> None:
        """Look again at what is held, until cancelled."""
        while True:
            await self._some_held.wait()
            begun = time.thread_time()
            for unique in list(self._held):
                if unique not in self.waiting or self._end(unique):
                    del self._held[unique]
            if not self._held:
                self._some_held = trio.Event()
                continue
            spent = time.thread_time() - begun
            await trio.sleep(max(LOOK_SECONDS, spent / LOOK_SHARE_MAX))

    def _end(self, unique: int) -> bool:
        scope, pid = self.waiting[unique]
        if not signalled(pid):
            return False
        scope.cancel()
        return True
