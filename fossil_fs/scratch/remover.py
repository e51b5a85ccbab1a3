"""Files that are to go: freeing a large one may take a disk seconds."""

import os
import time
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread


class Remover:
    """Unlinks files in a thread of its own: freeing a large file may take a disk seconds."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._freed: deque[int] = deque()
        self._thread: Thread | None = None
        self._left = 0  # files that are not known to be gone

    def remove(self, path: bytes, size: int) -> None:
        """Unlink `path` soon; its `size` bytes are then counted by `freed`."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="remover", daemon=True)
            self._thread.start()
        self._left += 1
        self._queue.put((path, size))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            with suppress(FileNotFoundError):
                os.unlink(item[0])
            self._freed.append(item[1])

    def freed(self) -> int:
        """Return the bytes freed since the last call."""
        total = 0
        while self._freed:
            total += self._freed.popleft()
            self._left -= 1
        return total

    def wait(self) -> None:
        """Return when nothing is left to be unlinked."""
        while len(self._freed) < self._left:
            time.sleep(0.001)

    def close(self) -> None:
        """Finish, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
