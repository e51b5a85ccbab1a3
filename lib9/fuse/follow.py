"""On which processor the daemon answers, and how it looks for the next request.

A program that asks for one small thing after the other and the daemon that answers never run at the
same time. On two processors each answer has to wake a sleeping one, which may take longer than the
answer itself, most of all in a virtual machine; on one the kernel just switches. So the daemon goes
where such a program runs, and gives the processor away while it waits. When several programs ask at
once, or for much data, it runs anywhere again, and looks for requests a while before it sleeps: a
program on another processor asks again that soon.
"""

from typing import Final, NamedTuple

from lib9 import processors

ALONE_MIN: Final = 60  # of the shim's 64 requests of a window: so many of one thread, and small
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

    def decide(self, pid: int, same: int) -> None:
        """Take note of a window: of its last thread, and how many small requests followed their like."""
        where = _find(pid) if same >= ALONE_MIN else None
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


def _find(pid: int) -> int | None:
    """Return where a thread runs; None where it cannot be seen (pid 0, or gone)."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return processor_of(file.read(_STAT_SIZE_MAX))
    except (OSError, ValueError, IndexError):
        return None
