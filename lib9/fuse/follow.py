"""On which processor the daemon answers, and how it looks for the next request.

A program that asks for one small thing after the other and the daemon that answers never run at the
same time. On two processors each answer has to wake a sleeping one, which may take longer than the
answer itself, most of all in a virtual machine; on one the kernel just switches. So the daemon goes
where such a program runs, and gives the processor away while it waits. When several programs ask at
once, or for much data, it runs anywhere again, and looks for requests a while before it sleeps: a
program on another processor asks again that soon.

Where a program runs is read from /proc/PID/stat by a thread of its own, never by the one that serves: the
kernel keeps who reads that file waiting while the program is in execve(2), which may wait for us.
"""

from queue import SimpleQueue
from threading import Thread
from typing import Final, NamedTuple

from lib9 import processors

ALONE_MIN: Final = 60  # of the shim's 64 requests of a window: so many of one thread, and small
LOOK_WINDOWS: Final = 16  # after so many windows who is followed is looked for again
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


def find(pid: int) -> int | None:
    """Return where a thread runs; None where it cannot be seen (pid 0, or gone). May wait for it."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return processor_of(file.read(_STAT_SIZE_MAX))
    except (OSError, ValueError, IndexError):
        return None


class Scout:
    """Looks for threads in a thread of its own, one at a time."""

    def __init__(self) -> None:
        self.found: tuple[int, int | None] | None = None  # a thread, and where it ran
        self._asked: SimpleQueue[int | None] = SimpleQueue()
        self._thread: Thread | None = None
        self.busy = False  # it has not come back yet

    def look(self, pid: int) -> None:
        """Have `found` say where `pid` runs, soon; not while another is looked for."""
        if self.busy:
            return
        if self._thread is None:
            self._thread = Thread(target=processors.anywhere(self._run), name="scout", daemon=True)
            self._thread.start()
        self.busy = True
        self._asked.put(pid)

    def _run(self) -> None:
        while (pid := self._asked.get()) is not None:
            self.found = pid, find(pid)
            self.busy = False

    def end(self) -> None:
        """Let the thread go, as soon as it can."""
        self._asked.put(None)


class Follower:
    """Decides for the thread that serves; `waiting` is what is right now."""

    def __init__(self) -> None:
        self.waiting = ANYWHERE
        self.scout = Scout()
        self._pid = 0  # of who is followed, or looked for
        self._windows = 0  # until it is looked for again

    def decide(self, pid: int, same: int) -> None:
        """Take note of a window: of its last thread, and how many small requests followed their like."""
        if same < ALONE_MIN or not pid:
            self._leave()
            return
        self._windows -= 1
        if pid != self._pid or self._windows <= 0:
            self._pid, self._windows = pid, LOOK_WINDOWS
            self.scout.look(pid)
        found, self.scout.found = self.scout.found, None
        if found is not None and found[0] == pid:
            self._go(found[1])

    def _go(self, processor: int | None) -> None:
        if processor is not None and processors.bind(processor):
            self.waiting = TOGETHER
        else:
            self._leave()

    def _leave(self) -> None:
        self._pid = 0
        if self.waiting is TOGETHER:
            self.waiting = ANYWHERE
            processors.run_anywhere()

    def end(self) -> None:
        """Run anywhere again."""
        self._leave()
        self.scout.end()
