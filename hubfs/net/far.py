"""An open file of a hub that is elsewhere: its place, its one Read under way, what it lost."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hubfs.net import wire
from hubfs.net.link import Call, Link

log = logging.getLogger("hubfs")


@dataclass(slots=True, eq=False)
class FarFile:
    """One open file. `stream`: it has no file position of the kernel's."""

    ino: int
    flags: int
    stream: bool = False
    reader: FarReader | None = None
    status: bytes = b""


class FarReader:
    """One reader at the server. `place` is the position of the next byte it returns.

    `_skew` is what must be added to the kernel's offset to have the hub's position.
    """

    def __init__(self, link: Link, number: int, path: bytes, position: int) -> None:
        self.place = position
        self.lost = 0
        self._link = link
        self._number = number
        self._path = path
        self._skew = position
        self._consumed = False
        self._call: Call | None = None
        self._offset = 0  # of the file, that the call was made for
        self._ahead: memoryview | None = None  # bytes from `place` on, or b"": end of file
        self._notify: Callable[[], None] | None = None

    async def read(self, offset: int | None, size: int, *, wait: bool) -> bytes:
        """Return bytes, b"" for end of file; `offset` None: from where the last read ended.

        EAGAIN instead of waiting unless `wait`.
        """
        if offset is not None and self._skew + offset != self.place:
            self._move(self._skew + offset)
        while self._ahead is None:
            self._begin(offset or 0, size)
            assert self._call is not None
            if not self._call.done:
                if not wait:
                    raise OSError(errno.EAGAIN, "nothing to read now")
                await self._call.wait()
                continue  # another read of this file may have waited beside us
            # no await until the bytes are returned
            frozen = self._take()
            if frozen is not None:
                return frozen[:size]
        data = bytes(self._ahead[:size])
        self.place += len(data)
        self._consumed = True
        rest = self._ahead[size:]
        self._ahead = rest or None
        return data

    def poll(self, size: int, notify: Callable[[], None] | None) -> bool:
        """Tell whether a read would not wait; else call `notify` once when it may not."""
        if self._ahead is not None:
            return True
        self._begin(max(self.place - self._skew, 0), size)
        if self._call is not None and self._call.done:
            return True
        self._notify = notify
        return False

    def close(self) -> None:
        """Let go of the reader at the server."""
        if self._call is not None:
            self._link.drop(self._call)
        self._link.begin(wire.Close(self._number), patient=True)

    def open_again(self, anew: bool) -> Call:
        """Return the call that makes this reader again; `anew`: by its name, for all has changed."""
        if not anew:
            position = self.place + len(self._ahead or b"")
            return self._link.open_again(wire.Open(self._number, 0, self._path, position))
        log.warning("%s: made anew: what was said meanwhile is lost", self._path.decode())
        asked, self._call, self._ahead = self._call, None, None
        if asked is not None:
            self._link.drop(asked)
        call = self._link.open_again(wire.Open(self._number, 0, self._path, wire.AT_THE_END))
        call.on_done = partial(self._opened, call, asked)
        return call

    def _opened(self, call: Call, asked: Call | None) -> None:
        """Go on in the new hub; a read that was under way is asked again from there."""
        if isinstance(call.reply, wire.Opened):
            self._skew += call.reply.position - self.place
            self.place = call.reply.position
        if asked is None or asked.done:
            return
        if isinstance(asked.message, wire.Read) and self._call is None:
            self._begin(self._offset, asked.message.size)
        asked.finish(wire.Done())  # who waits looks again

    def _message(self, offset: int, size: int) -> wire.Read:
        return wire.Read(self._number, self.place, size, offset, not self._consumed)

    def _begin(self, offset: int, size: int) -> None:
        if self._call is None:
            self._offset = offset
            self._call = self._link.begin(self._message(offset, size), patient=True)
            self._call.on_done = self._told

    def _told(self) -> None:
        notify, self._notify = self._notify, None
        if notify is not None:
            notify()

    def _take(self) -> bytes | None:
        """Take the reply of the call; bytes of a frozen hub are returned, others are `_ahead`."""
        assert self._call is not None
        call, self._call = self._call, None
        data = call.result(wire.Data)
        if data.frozen:
            return bytes(data.data)
        missed = data.position - self.place  # below 0: it was frozen, cut and melted
        self._skew += missed
        self.place += missed
        if missed > 0:
            self.lost += missed
            log.warning("%s: %d bytes lost", self._path.decode(errors="replace"), missed)
        self._ahead = memoryview(data.data)
        return None

    def _move(self, position: int) -> None:
        """Go on from another place: what is under way is for the old one."""
        if self._call is not None:
            self._link.drop(self._call)
        self._call = self._ahead = None
        self.place = position
