"""How the daemon looks for the next request before it sleeps.

A program that makes one small request after the other runs on another processor, if one is idle: that is
where the kernel wakes it. Until it asks again some 10 to 40 us go by. To sleep and be woken takes longer
than that, above all in a virtual machine; so a daemon that goes on looking answers twice as many.

It does not where somebody else needs the processor, or where requests are rare. Both are seen: the
kernel counts how often it took the processor away, and the shim how many looks were in vain. Then the
daemon sleeps at once, and tries from time to time whether that has changed.
"""

from resource import RUSAGE_THREAD, getrusage
from typing import Final, NamedTuple

TRY_WINDOWS: Final = 16  # of the shim's 64 requests, slept through before it is tried again
MISSED_MAX: Final = 32  # requests of a window that came after the daemon had given up
PREEMPTED_MAX: Final = 8  # times in a window that the processor was taken away


class Waiting(NamedTuple):
    """How to look for a request: so many times at once, then up to so many microseconds asleep."""

    looks: int
    patience_us: int


BRIEF: Final = Waiting(60, 0)  # a look takes about 0.3 us
EAGER: Final = Waiting(200, 0)
ASLEEP: Final = Waiting(1, 200)


class Lookout:
    """Decides for the thread that serves; `waiting` is what is right now."""

    def __init__(self, *, eager: bool) -> None:
        self.waiting = EAGER if eager else BRIEF
        self._windows = 0  # until it is tried again
        self._preempted = 0

    def decide(self, missed: int) -> None:
        """Take note of a window: of its requests so many were looked for in vain at first."""
        before, self._preempted = self._preempted, getrusage(RUSAGE_THREAD).ru_nivcsw
        if self.waiting is EAGER:
            if missed > MISSED_MAX or self._preempted - before > PREEMPTED_MAX:
                self.waiting, self._windows = ASLEEP, TRY_WINDOWS
        else:
            self._windows -= 1
            if self._windows <= 0:
                self.waiting = EAGER
