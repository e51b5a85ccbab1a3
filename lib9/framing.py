"""Cuts a byte stream into frames: a big-endian size, then that many bytes of body.

The size does not count itself. Nothing is read ahead of the frame that is being received, and a
size over the limit is refused as soon as it is seen, so memory stays bounded.
"""

from lib9.errors import LocalProtocolError, RemoteProtocolError

Buffer = bytes | bytearray | memoryview


class FrameBuffer:
    """Takes bytes as they come and gives whole frame bodies."""

    def __init__(self, *, prefix_size: int, body_size_max: int) -> None:
        self._prefix_size = prefix_size
        self.body_size_max = body_size_max
        self._data: bytes | bytearray = b""
        self._start = 0

    def feed(self, data: Buffer) -> None:
        """Add received bytes, which are the buffer's own from now on.

        Take all bodies before feeding again: that is what bounds memory.
        """
        # a new buffer each time: bodies handed out earlier are views of the old one
        if self.at_boundary:
            self._data = bytes(data) if isinstance(data, memoryview) else data
        elif self._start or isinstance(self._data, bytes):
            self._data = bytearray().join((memoryview(self._data)[self._start :], data))
        else:
            self._data += data
        self._start = 0

    def next_body(self) -> memoryview | None:
        """Return the next complete body, or None when more bytes are needed.

        The view stays valid. Raises RemoteProtocolError for a size over the limit.
        """
        body_start = self._start + self._prefix_size
        if len(self._data) < body_start:
            return None
        size = int.from_bytes(self._data[self._start : body_start], "big")
        if size > self.body_size_max:
            raise RemoteProtocolError(f"frame of {size} bytes, the limit is {self.body_size_max}")
        if len(self._data) < body_start + size:
            return None
        self._start = body_start + size
        return memoryview(self._data)[body_start : self._start]

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here without cutting a frame."""
        return self._start == len(self._data)


def frame(parts: list[Buffer], *, prefix_size: int, body_size_max: int) -> bytes:
    """Return one frame whose body is `parts` joined; LocalProtocolError if it is over the limit."""
    size = sum(map(len, parts))
    if size > body_size_max:
        raise LocalProtocolError(f"frame of {size} bytes, the limit is {body_size_max}")
    return b"".join((size.to_bytes(prefix_size, "big"), *parts))
