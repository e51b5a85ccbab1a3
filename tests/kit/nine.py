"""9P2000, as much as it takes to read a tree: over two pipes to a file server of Plan 9.

Source: intro(5) and the pages of its messages.
"""

import struct
from collections.abc import Iterator
from typing import IO

MESSAGE_BYTES = 8192
NO_TAG, NO_FID = 0xFFFF, 0xFFFFFFFF
VERSION, ATTACH, ERROR, WALK, OPEN, READ, CLUNK = 100, 104, 107, 110, 112, 116, 120
DIRECTORY = 0x80  # in the type of a qid
AROUND = 24  # bytes of a message besides what was read


def _string(text: bytes) -> bytes:
    return struct.pack("<H", len(text)) + text


class Reader:
    """A client that reads; one request at a time."""

    def __init__(self, to_server: IO[bytes], from_server: IO[bytes]) -> None:
        self._to, self._from = to_server, from_server
        self._ask(VERSION, struct.pack("<I", MESSAGE_BYTES) + _string(b"9P2000"), tag=NO_TAG)
        self._ask(ATTACH, struct.pack("<II", 0, NO_FID) + _string(b"glenda") + _string(b""))

    def _ask(self, kind: int, body: bytes, *, tag: int = 1) -> bytes:
        self._to.write(struct.pack("<IBH", 7 + len(body), kind, tag) + body)
        self._to.flush()
        size, answer, _ = struct.unpack("<IBH", self._from.read(7))
        data = self._from.read(size - 7)
        if answer == ERROR:
            raise OSError(data[2:].decode())
        assert answer == kind + 1
        return data

    def read(self, *path: bytes) -> bytes:
        """Return the bytes of a file; of a directory, its entries."""
        names = b"".join(map(_string, path))
        walked = self._ask(WALK, struct.pack("<IIH", 0, 1, len(path)) + names)
        assert struct.unpack_from("<H", walked)[0] == len(path), "no such file"
        self._ask(OPEN, struct.pack("<IB", 1, 0))
        data = b""
        while piece := self._ask(
            READ, struct.pack("<IQI", 1, len(data), MESSAGE_BYTES - AROUND)
        )[4:]:  # fmt: skip
            data += piece
        self._ask(CLUNK, struct.pack("<I", 1))
        return data

    def files(self, *top: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Give the path and the bytes of every file below the directory `top`."""
        entries = self.read(*top)
        while entries:
            size = 2 + struct.unpack_from("<H", entries)[0]
            entry, entries = entries[:size], entries[size:]
            # size[2] type[2] dev[4] qid[13] mode[4] atime[4] mtime[4] length[8] name[s] ...
            name = entry[43 : 43 + struct.unpack_from("<H", entry, 41)[0]]
            if entry[8] & DIRECTORY:
                yield from self.files(*top, name)
            else:
                yield b"/".join((*top, name)), self.read(*top, name)
