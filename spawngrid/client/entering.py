"""A session in an environment, from this side: keyboard and streams to it, what it says to us.

The session goes on where it was when the connection broke: both sides keep what the other may not
have yet.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from lib9 import keys
from lib9.blocking import SecureSocket, connect
from lib9.dial import CannotDial, parse_dial
from lib9.errors import Exit, Refused, RemoteProtocolError, SpawngridError
from lib9.keys import Identity
from spawngrid.attach import wire
from spawngrid.attach.kept import Kept
from spawngrid.errors import NotAnswering, RequestFailed
from spawngrid.messages import Frames

ESCAPE: Final = b"\x1d"  # Ctrl-]
AGAIN_SECONDS_MAX: Final = 600.0  # that a node which went away is dialled again
SEEN_SIZE: Final = 128 << 10  # bytes of output after which the other side may forget them
BACKOFF_SECONDS_MAX: Final = 2.0
STOPS_MAX: Final = 1  # signals to end that are passed on; the next one ends this client
_CHUNK: Final = 32 << 10
_STATUSES: Final = {int(status) for status in Exit}
_PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Place:
    """An environment and the cpu node that it is on."""

    environment: str
    node: str
    dial: str
    public: bytes


class SessionLost(SpawngridError):
    """A session that was begun cannot be gone on with. Its command is not begun again."""


class Session:
    """One session, from `run` to the end of its command."""

    def __init__(
        self,
        place: Place,
        identity: Identity,
        kind: int,
        arguments: tuple[bytes, ...] = (),
        variables: tuple[wire.Variable, ...] = (),
    ) -> None:
        self._place = place
        self._identity = identity
        self._name = os.urandom(wire.SESSION_SIZE)
        self._kind = kind
        self._arguments = arguments
        self._variables = variables
        self._input = Kept(wire.KEPT_SIZE_MAX)
        self._input_ended = False
        self._end_told = False
        self._seen = 0
        self._seen_told = 0
        self._status: int | None = None
        self._left = False
        self._opened = False
        self._socket: SecureSocket | None = None
        self._frames: Frames[wire.Message] = Frames(wire.TABLE)
        self._signals: list[int] = []
        self._stops = 0

    def run(self, *, keyboard: int = 0, raw: bool = False, reads: bool = True) -> int:
        """Carry until the command has ended; return its exit status.

        RequestFailed, Refused or NotAnswering when none was begun; SessionLost when it was, and the
        command may or may not have ended. `raw`:
        keys go as they are, and Ctrl-] leaves. Without `reads` nothing is read from the keyboard.
        """
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        try:
            with self._catching(raw), _raw(keyboard, raw):
                self._connect(fresh=True)
                self._carry(keyboard if reads else -1, wake_read, raw)
        except (NotAnswering, Refused, RequestFailed) as error:
            if not self._opened:
                raise  # nothing was begun: the caller may try elsewhere
            raise SessionLost(str(error)) from None
        finally:
            signal.set_wakeup_fd(before)
            os.close(wake_read)
            os.close(wake_write)
            if self._socket is not None:
                self._socket.close()
        return self._status if self._status is not None else 0

    def _carry(self, keyboard: int, wake: int, raw: bool) -> None:
        if keyboard < 0:
            self._input_ended = True
            self._send(wire.InputEnd())
        while self._status is None and not self._left:
            assert self._socket is not None
            poll = select.poll()
            poll.register(self._socket.fileno(), select.POLLIN)
            poll.register(wake, select.POLLIN)
            # before the session is there nothing is read: who tries elsewhere still needs it
            if self._opened and not self._input_ended and self._input.room:
                poll.register(keyboard, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
            self._pass_signals(keyboard)
            if keyboard in ready:
                self._typed(keyboard, raw)
            if self._socket.fileno() in ready:
                self._receive()

    def _typed(self, keyboard: int, raw: bool) -> None:
        data = os.read(keyboard, min(_CHUNK, self._input.room))
        if raw and ESCAPE in data:
            data = data.partition(ESCAPE)[0]
            self._left = True
        if data:
            position = self._input.add(0, data)
            self._send(wire.Input(position, data))
        elif not self._left:
            self._input_ended = True
            self._send(wire.InputEnd())
        if self._left:
            self._send(wire.Signal(signal.SIGHUP))

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.receive()
        except (OSError, RemoteProtocolError):
            data = b""
        if not data:
            if self._status is None:
                self._connect(fresh=False)
            return
        self._frames.feed(data)
        for message in self._frames.received():
            self._take(message)
        if self._seen - self._seen_told >= SEEN_SIZE:
            self._seen_told = self._seen
            self._send(wire.Seen(self._seen))

    def _take(self, message: wire.Message) -> None:
        match message:
            case wire.Output(stream, position, data):
                fresh = bytes(data)[max(0, self._seen - position) :]
                if position <= self._seen and fresh:
                    self._seen += len(fresh)
                    _write_all(2 if stream == wire.ERR else 1, fresh)
            case wire.Taken(position):
                self._input.acknowledge(position)
            case wire.Opened(taken):
                self._opened = True
                for _, position, again in self._input.again(taken):
                    self._send(wire.Input(position, again))
                if self._input_ended:
                    self._send(wire.InputEnd())
            case wire.Ended(status):
                self._status = status
            case wire.Failed(status, text):
                known = Exit(status) if status in _STATUSES else Exit.FAILED
                raise RequestFailed(text, known)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} is out of place")

    def _send(self, message: wire.Message) -> None:
        assert self._socket is not None
        # a connection that broke is found out by reading, and everything is sent again
        with suppress(OSError):
            self._socket.send(wire.TABLE.framed(message))

    def _connect(self, *, fresh: bool) -> None:
        """Connect, for the first time or to go on; NotAnswering, Refused."""
        deadline = time.monotonic() + AGAIN_SECONDS_MAX
        backoff = 0.0
        told = fresh
        while True:
            try:
                self._dial(fresh)
            except CannotDial as error:
                if fresh or time.monotonic() > deadline:
                    raise NotAnswering(f"{self._place.node}: {error}") from None
            except (RemoteProtocolError, OSError) as error:
                if fresh or isinstance(error, Refused):
                    raise
            else:
                if told and not fresh:
                    sys.stderr.write("\r\ngrid: the connection is back\r\n")
                return
            if not told:
                told = True
                sys.stderr.write(f"\r\ngrid: {self._place.node} went away: dialling again\r\n")
            time.sleep(backoff)
            backoff = min(backoff * 2 or 0.1, BACKOFF_SECONDS_MAX)

    def _dial(self, fresh: bool) -> None:
        if self._socket is not None:
            self._socket.close()
        self._frames = Frames(wire.TABLE)
        self._socket = connect(
            parse_dial(self._place.dial, port="grid"),
            self._identity.channel_keys(),
            keys.channel_key(self._place.public),
            wire.CONSOLE_SERVICE if self._kind == wire.CONSOLE else wire.SERVICE,
        )
        first: wire.Message
        if fresh:
            rows, columns = _size()
            first = wire.Open(
                wire.VERSION,
                self._name,
                self._place.environment,
                self._kind,
                self._arguments,
                self._variables,
                rows,
                columns,
            )
        else:
            first = wire.Resume(wire.VERSION, self._name, self._seen)
        self._socket.send(wire.TABLE.framed(first))

    @contextmanager
    def _catching(self, raw: bool) -> Iterator[None]:
        """Note signals; they are passed on between two looks at the connection."""
        caught = [*_PASSED_ON] + ([signal.SIGWINCH] if raw else [])
        before: dict[int, object] = {}

        def note(number: int, _: object) -> None:
            self._signals.append(number)
            self._stops += number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
            if self._stops > STOPS_MAX:
                raise SystemExit(128 + number)  # a node that does not answer holds nobody

        for number in map(int, caught):
            before[number] = signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _pass_signals(self, keyboard: int) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGWINCH:
                self._send(wire.Resize(*_size(keyboard)))
            else:
                self._send(wire.Signal(int(number)))


def _size(descriptor: int = 0) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return 24, 80
    return size.lines, size.columns


@contextmanager
def _raw(keyboard: int, raw: bool) -> Iterator[None]:
    if not raw:
        yield
        return
    before = termios.tcgetattr(keyboard)
    tty.setraw(keyboard, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
