"""One hub: a bounded buffer that many write and many read, every reader at a place of its own.

Positions count the bytes ever written, so they never wrap and a lapped reader can be told exactly
what it missed. Pure: nothing here waits, sleeps or knows the time; `read` answers None where a
caller would have to wait, and the caller wakes its waiting readers after each write.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import count
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

from hubfs.errors import MessageTooLarge

CAPACITY_DEFAULT = 777777  # bytes kept; the scrollback of a window
MESSAGE_SIZE_MAX_DEFAULT = 666666  # bytes in one write
MESSAGE_SIZE_MAX = 254 * 4096  # what the kernel passes on in one piece, however it lies in memory
MESSAGES_MAX = 65536  # messages remembered in message mode: each costs a number to keep
FEAR_LAG_MAX = 77777  # bytes that a reader may lag before fear holds writers


@dataclass(slots=True, eq=False)
class Reader:
    """One open file that reads: `position` is the next byte, `lost` what it was lapped on."""

    number: int
    position: int
    who: str = ""
    lost: int = 0
    waiting: bool = False  # a read of it is blocked now
    end_of_file: bool = False  # its blocked read shall return nothing, once


@dataclass(slots=True, eq=False)
class Hub:
    """`end` is the number of bytes ever written, `start` of those no longer kept.

    With `frozen` the kept bytes are a plain file. With `messages` one read returns what one write
    wrote. `closed`: removed; readers get what is left, then end of file.
    """

    capacity: int = CAPACITY_DEFAULT
    message_size_max: int = MESSAGE_SIZE_MAX_DEFAULT
    messages: bool = False
    frozen: bool = False
    fear: bool = False
    only_new: bool = False  # new readers start at the end
    start: int = 0
    end: int = 0
    closed: bool = False
    readers: dict[int, Reader] = field(default_factory=dict)
    _view: memoryview = field(init=False, repr=False)
    _ends: list[int] = field(default_factory=list)  # message mode: where each message ends
    _first: int = 0  # the first of `_ends` that is still kept
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _reached: int = 0  # every reader that was not lapped has read up to here, or further

    def __post_init__(self) -> None:
        assert self.capacity > 0
        # pages that the kernel gives when they are written: an empty hub costs none
        self._view = memoryview(mmap(-1, self.capacity, MAP_PRIVATE | MAP_ANONYMOUS))

    def __len__(self) -> int:
        return self.end - self.start

    def attach(self, who: str = "") -> Reader:
        """Return a new reader: at the start of what is kept, or at the end with `only_new`."""
        reader = Reader(next(self._numbers), self.end, who)
        self.readers[reader.number] = reader
        if not self.only_new:
            self.seek(reader, self.start)
        return reader

    def seek(self, reader: Reader, position: int) -> None:
        """Let `reader` go on at `position`, at the end if that is further."""
        reader.position = min(position, self.end)
        self._reached = min(self._reached, reader.position)

    def detach(self, reader: Reader) -> None:
        self.readers.pop(reader.number, None)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Store `data` as one contiguous message and return its length.

        MessageTooLarge when it exceeds the maximum or could never be kept whole.
        """
        size = len(data)
        if size > min(self.message_size_max, self.capacity):
            limit = min(self.message_size_max, self.capacity)
            raise MessageTooLarge(f"message of {size} bytes: at most {limit} fit")
        self._store(data)
        if self.messages and size:
            self._ends.append(self.end)
        self._forget(self.end - self.capacity)
        return size

    def ready(self, reader: Reader) -> bool:
        """Tell whether a read would not wait."""
        return reader.position < self.end or reader.end_of_file or self.closed

    def read(self, reader: Reader, size: int) -> bytes | None:
        """Return the next bytes for `reader`, b"" for end of file, None when it has to wait."""
        self._catch_up(reader)
        available = self.end - reader.position
        if not available:
            if reader.end_of_file or self.closed:
                reader.end_of_file = False
                return b""
            return None
        reader.end_of_file = False
        stop = reader.position + min(size, available)
        if self.messages:
            stop = min(stop, self._message_end(reader.position))
        data = self._bytes(reader.position, stop)
        reader.position = stop
        return data

    def lag(self, reader: Reader) -> int:
        """Return how many bytes are kept that `reader` has not read."""
        return self.end - max(reader.position, self.start)

    def lost(self, reader: Reader) -> int:
        """Return how many bytes `reader` missed in all, also while it sleeps."""
        return reader.lost + max(0, self.start - reader.position)

    def end_of_file(self) -> list[Reader]:
        """End the blocked read of every reader that has read everything; return those readers."""
        ended = [r for r in self.readers.values() if r.waiting and r.position >= self.end]
        for reader in ended:
            reader.end_of_file = True
        return ended

    def holds_writers(self) -> bool:
        """Tell whether fear asks a writer to wait: a reader lags too much and has lost nothing yet.

        Who was lapped is not waited for until it has caught up: one that never reads costs its
        writers the wait for what the hub keeps, once. The readers are looked at when one of them
        may lag, not at every write: many that sleep do not slow down the writers.
        """
        if not self.fear:
            return False
        limit = self.end - min(FEAR_LAG_MAX, self.capacity // 2)
        if self._reached < limit:
            kept = (r.position for r in self.readers.values() if r.position >= self.start)
            self._reached = min(kept, default=self.end)
        return self._reached < limit

    def close(self) -> None:
        """The hub was removed: its readers get end of file after what is left."""
        self.closed = True

    def clear(self) -> None:
        """Forget what is kept; readers that had not read it have lost it."""
        self._forget(self.end)

    def set_messages(self, on: bool) -> None:
        """Turn message mode on (what is kept becomes one message) or off."""
        self.messages = on
        self._ends = [self.end] if on and len(self) else []
        self._first = 0

    def read_frozen(self, offset: int, size: int) -> bytes:
        """Return bytes of the plain file that the hub is while frozen."""
        first = min(self.start + offset, self.end)
        return self._bytes(first, min(first + size, self.end))

    def write_frozen(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Write into the plain file; it ends behind what was written.

        MessageTooLarge when that would be more than the hub keeps. A gap is filled with zeros.
        """
        self._replace(offset, data)
        return len(data)

    def resize_frozen(self, size: int) -> None:
        """Cut the plain file, or make it longer with zeros; MessageTooLarge over the capacity."""
        self._replace(size, b"")

    def _replace(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Keep `offset` bytes of what there is, and then `data`."""
        size = offset + len(data)
        if size > self.capacity:
            raise MessageTooLarge(f"{size} bytes: the hub keeps {self.capacity}")
        text = bytearray(self._bytes(self.start, min(self.start + offset, self.end)))
        text.extend(bytes(offset - len(text)))
        text += data
        read = self.end
        self.end = self.start
        self._store(text)
        self.set_messages(self.messages)
        for reader in self.readers.values():
            # who had read everything goes on with what comes after the melt
            if reader.position >= min(read, self.end):
                self.seek(reader, self.end)

    def _catch_up(self, reader: Reader) -> None:
        if reader.position < self.start:
            reader.lost += self.start - reader.position
            self.seek(reader, self.start)

    def _bytes(self, start: int, stop: int) -> bytes:
        at = start % self.capacity
        size = stop - start
        if at + size <= self.capacity:
            return bytes(self._view[at : at + size])
        return b"".join((self._view[at:], self._view[: at + size - self.capacity]))

    def _store(self, data: bytes | bytearray | memoryview) -> None:
        at = self.end % self.capacity
        first = min(len(data), self.capacity - at)
        if first == len(data):
            self._view[at : at + first] = data
        else:
            self._view[at:] = data[:first]
            self._view[: len(data) - first] = data[first:]
        self.end += len(data)

    def _message_end(self, position: int) -> int:
        return self._ends[bisect_right(self._ends, position, lo=self._first)]

    def _forget(self, before: int) -> None:
        """Keep nothing below position `before`, and in message mode no part of a message."""
        if not self.messages:
            self.start = max(self.start, before)
            return
        while self.start < before or len(self._ends) - self._first > MESSAGES_MAX:
            self.start = self._ends[self._first]
            self._first += 1
        if self._first > MESSAGES_MAX:
            del self._ends[: self._first]
            self._first = 0
