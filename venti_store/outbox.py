"""What waits to be sent on a stream: frames go in without waiting, one task sends them in order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

SEND_SIZE: Final = 256 << 10  # small frames are sent together up to this


class Outbox:
    """Frames on their way. Whoever fills it bounds it, by `size`."""

    def __init__(self, on_sent: Callable[[int, int], None]) -> None:
        """`on_sent` is told how many bytes, and how many frames, have been sent."""
        self.size = 0  # bytes waiting or being sent
        self._frames: deque[bytes] = deque()
        self._more = trio.Event()
        self._finishing = False
        self._on_sent = on_sent

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self.size += len(frame)
        self._more.set()

    def finish(self) -> None:
        """Let `send_to` return when everything has been sent."""
        self._finishing = True
        self._more.set()

    async def send_to(self, stream: trio.abc.SendStream, *, seconds_max: float = math.inf) -> None:
        """Send what is put, until `finish`; trio.TooSlowError if one piece takes too long."""
        while True:
            while self._frames:
                data, frames = self._take()
                with trio.fail_after(seconds_max):
                    await stream.send_all(data)
                self.size -= len(data)
                self._on_sent(len(data), frames)
            if self._finishing:
                return
            self._more = trio.Event()
            await self._more.wait()

    def _take(self) -> tuple[bytes, int]:
        first = self._frames.popleft()
        if not self._frames or len(first) >= SEND_SIZE:
            return first, 1
        parts, size = [first], len(first)
        while self._frames and size + len(self._frames[0]) <= SEND_SIZE:
            parts.append(self._frames.popleft())
            size += len(parts[-1])
        return b"".join(parts), len(parts)
