"""On which processor the daemon answers, and how it looks for the next request.

A program that asks for one small thing after the other and the daemon that answers never run at the
same time. On two processors each answer has to wake a sleeping one, which may take longer than the
answer itself, most of all in a virtual machine; on one the kernel just switches. So the daemon goes
where such a program runs, and gives the processor away while it waits. When several programs ask at
once, or for much data, it runs anywhere again, and looks for requests a while before it sleeps: a
program on another processor asks again that soon.
"""

from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, NamedTuple

from lib9 import processors

ALONE_MIN: Final = 60  # of the shim's 64 requests of a window: so many of one thread, and small
LOOK_SECONDS_MAX: Final = 0.005  # a look takes 20 us, unless it has to wait
_STAT_SIZE_MAX: Final = 4096
_PROCESSOR: Final = 36  # among the fields of /proc/PID/stat that follow the program's name


class Waiting(NamedTuple):
    """How to look for a request: so many times at once, then up to so many microseconds asleep."""

    looks: int
    patience_us: int


ANYWHERE: Final = Waiting(60, 0)  # a look takes about 0.3 us
TOGETHER: Final = Waiting(1, 200)


def processor_of(status: bytes) -> int:
    """Return the processor that the text of /proc/PID/stat names; ValueError, IndexError."""
    return int(status.rpartition(b")")[2].split()[_PROCESSOR])


class Follower:
    """Decides for the thread that serves; `waiting` is what is right now."""

    def __init__(self) -> None:
        self.waiting = ANYWHERE
        self._at: int | None = None
        self._looker = _Looker()

    def decide(self, pid: int, same: int) -> None:
        """Take note of a window: of its last thread, and how many small requests followed their like."""
        where = self._looker.find(pid) if same >= ALONE_MIN else None
        if where == self._at:
            return
        if where is not None and processors.bind(where):
            self._at, self.waiting = where, TOGETHER
        else:
            self.end()

    def end(self) -> None:
        """Run anywhere again."""
        self._at, self.waiting = None, ANYWHERE
        processors.run_anywhere()


class _Looker:
    """Looks into /proc in a thread of its own.

    A program that is being replaced (execve) keeps its /proc/PID/stat locked while it closes its files, and
    closing one of ours waits for our answer: whoever answers must never wait for /proc.
    """

    def __init__(self) -> None:
        self._wanted: SimpleQueue[int] = SimpleQueue()
        self._seen: SimpleQueue[int | None] = SimpleQueue()
        self._started = self._busy = False

    def find(self, pid: int) -> int | None:
        """Return where a thread runs; None where it cannot be seen (pid 0, gone, or not in time)."""
        if not self._started:
            self._started = True
            Thread(target=self._look, name="follow", daemon=True).start()
        if self._busy and self._seen.empty():
            return None
        if self._busy:
            self._seen.get()
        self._busy = True
        self._wanted.put(pid)
        try:
            where = self._seen.get(timeout=LOOK_SECONDS_MAX)
        except Empty:
            return None
        self._busy = False
        return where

    def _look(self) -> None:
        processors.run_anywhere()
        while True:
            self._seen.put(_find(self._wanted.get()))


def _find(pid: int) -> int | None:
    """Return where a thread runs; None where it cannot be seen (pid 0, or gone)."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return processor_of(file.read(_STAT_SIZE_MAX))
    except (OSError, ValueError, IndexError):
        return None
