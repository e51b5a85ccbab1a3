"""A wire that belongs to somebody else: it records frames, and changes them on their way."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

SECONDS_MAX = 60.0
_PREFIX = 2

Change = Callable[[Iterator[bytes]], Iterable[bytes]]


@dataclass
class Recorded:
    """One connection: the frames of the client and of the node, with their sizes in front."""

    client: list[bytes] = field(default_factory=list)
    node: list[bytes] = field(default_factory=list)
    ended: bool = False


class Relay:
    """A port that leads to another. The first connection is changed, all are recorded."""

    def __init__(self, target: int, *, client: Change = iter, node: Change = iter) -> None:
        self.recorded: list[Recorded] = []
        self._target = target
        self._changes = (client, node)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._carriers: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and wait until all have ended."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for carrier in self._carriers:
            carrier.join(SECONDS_MAX)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                record = Recorded()
                self.recorded.append(record)
                carrier = threading.Thread(target=self._join, args=(near, record), daemon=True)
                self._carriers.append(carrier)
                carrier.start()

    def _join(self, near: socket.socket, record: Recorded) -> None:
        client, node = self._changes if record is self.recorded[0] else (iter, iter)
        with near, socket.create_connection(("127.0.0.1", self._target)) as far:
            back = threading.Thread(target=_carry, args=(far, near, record.node, node), daemon=True)
            back.start()
            _carry(near, far, record.client, client)
            back.join()
        record.ended = True


def _carry(source: socket.socket, sink: socket.socket, record: list[bytes], change: Change) -> None:
    def recorded() -> Iterator[bytes]:
        for frame in frames(source):
            record.append(frame)
            yield frame

    with suppress(OSError):
        for data in change(recorded()):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def frames(source: socket.socket) -> Iterator[bytes]:
    """Give the frames that come, to the end of the connection."""
    data = b""
    while True:
        size = _PREFIX + int.from_bytes(data[:_PREFIX], "big")
        if len(data) >= _PREFIX and len(data) >= size:
            yield data[:size]
            data = data[size:]
            continue
        try:
            more = source.recv(1 << 16)
        except ConnectionResetError:
            return
        if not more:
            return
        data += more


def play(port: int, script: Iterable[bytes], *, turns: bool) -> list[bytes]:
    """Send these frames to a port; return what it answers until it ends the connection.

    `turns`: the first answer is awaited before the second frame is sent, as a client would.
    """
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX) as connection:
        coming = frames(connection)
        with suppress(BrokenPipeError, ConnectionResetError):
            for number, frame in enumerate(script):
                if number == 1 and turns:
                    answers.append(next(coming))
                connection.sendall(frame)
        answers += list(coming)
    return answers


def flipped(number: int, at: int) -> Change:
    """Flip a bit of frame `number`, in its byte `at`."""

    def change(coming: Iterator[bytes]) -> Iterator[bytes]:
        for n, frame in enumerate(coming):
            if n == number:
                changed = bytearray(frame)
                changed[at] ^= 0x40
                yield bytes(changed)
            else:
                yield frame

    return change


def twice(number: int) -> Change:
    def change(coming: Iterator[bytes]) -> Iterator[bytes]:
        for n, frame in enumerate(coming):
            yield frame
            if n == number:
                yield frame

    return change


def swapped(number: int) -> Change:
    """Let frame `number` and the next change places."""

    def change(coming: Iterator[bytes]) -> Iterator[bytes]:
        for n, frame in enumerate(coming):
            if n == number:
                yield next(coming)
            yield frame

    return change


def left_out(number: int) -> Change:
    def change(coming: Iterator[bytes]) -> Iterator[bytes]:
        return (frame for n, frame in enumerate(coming) if n != number)

    return change


def cut(number: int) -> Change:
    """End the connection in the middle of frame `number`."""

    def change(coming: Iterator[bytes]) -> Iterator[bytes]:
        for n, frame in enumerate(coming):
            if n == number:
                yield frame[:-1]
                return
            yield frame

    return change
