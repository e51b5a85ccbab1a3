"""The client's side of a session: calls that survive the connection they were made on.

A call is kept until its reply has come; on the next connection it is sent again, under the same tag,
so that the server carries it out once. Calls that wait for others (reads) wait for as long as it
takes; the rest fail with EHOSTUNREACH when there was no connection for DEADLINE_SECONDS.
"""

from __future__ import annotations

import errno
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from hubfs.net import wire
from hubfs.net.connection import Connection, Role
from lib9.errors import Refused, RemoteProtocolError, SpawngridError
from lib9.streams import CannotDial, Connect

log = logging.getLogger("hubfs")

DEADLINE_SECONDS: Final = 30.0
BACKOFF_SECONDS_MIN: Final = 0.05
BACKOFF_SECONDS_MAX: Final = 2.0
PING_SECONDS: Final = 10.0  # without a word from the server: is it there?
ANSWER_SECONDS_MAX: Final = 10.0
CALLS_MAX: Final = 4096  # under way at once
RECEIVE_SIZE: Final = 256 << 10

R = TypeVar("R")


class Call:
    """One request: `reply` is there once `done`, which is told to `on_done`."""

    def __init__(self, tag: int, message: wire.Request, *, patient: bool) -> None:
        self.tag = tag
        self.message = message
        self.patient = patient
        self.reply: wire.Message | None = None
        self.on_done: Callable[[], None] | None = None
        self._done = trio.Event()

    @property
    def done(self) -> bool:
        return self.reply is not None

    def finish(self, reply: wire.Message) -> None:
        self.reply = reply
        self._done.set()
        if self.on_done is not None:
            self.on_done()

    async def wait(self) -> None:
        await self._done.wait()

    def result(self, kind: type[R]) -> R:
        """Return the reply; OSError if the server, or the lack of one, says no."""
        if isinstance(self.reply, wire.Error):
            raise OSError(self.reply.number, self.reply.reason)
        assert isinstance(self.reply, kind)
        return self.reply


class Link:
    """A session with a server. `run` keeps it connected."""

    def __init__(self, connect: Connect, name: str) -> None:
        self.name = name
        self.welcome: wire.Welcome | None = None  # of the latest connection
        self.connects = 0
        self.reopen: Callable[[bool], list[Call]] = lambda _anew: []
        self.on_bye: Callable[[], None] = lambda: None
        self._connect = connect
        self._session = secrets.token_bytes(wire.SESSION_SIZE)
        self._calls: dict[int, Call] = {}
        self._next_tag = 1
        self._unsent: deque[Call] = deque()
        self._something = trio.Event()
        self._connected = False
        self._down = False
        self._outage: trio.CancelScope | None = None
        self.up = trio.Event()  # there was a connection

    def begin(self, message: wire.Request, *, patient: bool = False) -> Call:
        """Send a request when there is a connection; EAGAIN when CALLS_MAX are under way."""
        call = self._make(message, patient=patient)
        if self._down and not patient:
            call.finish(self._unreachable())
            return call
        if len(self._calls) >= CALLS_MAX:
            raise OSError(errno.EAGAIN, f"{CALLS_MAX} requests under way")
        self._calls[call.tag] = call
        if self._connected:
            self._unsent.append(call)
            self._something.set()
        return call

    async def call(self, message: wire.Request, kind: type[R], *, patient: bool = False) -> R:
        """Send a request and return its reply; OSError. When cancelled it may still be done."""
        call = self.begin(message, patient=patient)
        try:
            await call.wait()
        finally:
            if not call.done:
                self._calls.pop(call.tag, None)
        return call.result(kind)

    def drop(self, call: Call) -> None:
        """Nobody wants the reply any more."""
        self._calls.pop(call.tag, None)

    async def run(self) -> None:
        """Connect, again and again, until cancelled, refused, or told that the hubs are gone.

        Raises CannotDial, RemoteProtocolError or Refused when there never was a connection.
        """
        failure: SpawngridError | None = None
        async with trio.open_nursery() as nursery:
            backoff = 0.0
            while failure is None or (self.connects and not isinstance(failure, Refused)):
                if self._outage is None:
                    self._outage = trio.CancelScope()
                    nursery.start_soon(self._count_down, self._outage)
                connects = self.connects
                failure = await self._once()
                if failure is None:
                    break
                log.info("%s: %s", self.name, failure)
                self._connected = False
                backoff = 0.0 if self.connects > connects else backoff
                await trio.sleep(backoff)
                backoff = min(max(backoff * 2, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
            nursery.cancel_scope.cancel()
        self._fail_all()
        if failure is not None and not self.connects:
            raise failure
        self.on_bye()

    async def _once(self) -> SpawngridError | None:
        """Use one connection to its end; return why it ended, None after the server's Bye."""
        try:
            stream = await self._connect()
            async with stream:
                connection = Connection(Role.CLIENT)
                with trio.fail_after(ANSWER_SECONDS_MAX):
                    await self._greet(stream, connection)
                return await self._exchange(stream, connection)
        except SpawngridError as error:
            return error
        except trio.BrokenResourceError as error:
            cause = error.__cause__
            return cause if isinstance(cause, SpawngridError) else CannotDial(str(error))
        except (trio.ClosedResourceError, trio.TooSlowError):
            return CannotDial(f"{self.name}: no answer")

    def _make(self, message: wire.Request, *, patient: bool) -> Call:
        tag = self._next_tag
        self._next_tag += 1
        return Call(tag, message, patient=patient)

    def _unreachable(self) -> wire.Error:
        return wire.Error(errno.EHOSTUNREACH, f"{self.name} does not answer")

    async def _count_down(self, outage: trio.CancelScope) -> None:
        with outage:
            await trio.sleep(DEADLINE_SECONDS)
            log.warning("%s: does not answer", self.name)
            self._down = True
            for call in [call for call in self._calls.values() if not call.patient]:
                del self._calls[call.tag]
                call.finish(self._unreachable())

    def _fail_all(self) -> None:
        self._down = True
        for call in list(self._calls.values()):
            call.finish(wire.Error(errno.ENOTCONN, f"{self.name} is gone"))
        self._calls.clear()

    async def _greet(self, stream: trio.abc.Stream, connection: Connection) -> None:
        hello = self._make(wire.Hello(wire.VERSION, self._session), patient=False)
        await stream.send_all(connection.send(hello.tag, hello.message))
        welcome: wire.Message | None = None
        while welcome is None:
            await _receive(stream, connection)
            welcome = next((message for _, message in connection.received()), None)
        if not isinstance(welcome, wire.Welcome):
            raise RemoteProtocolError(getattr(welcome, "reason", "no welcome"))
        before, self.welcome = self.welcome, welcome
        self.connects += 1
        self._unsent.clear()
        if before is not None and not welcome.known:
            anew = before.incarnation != welcome.incarnation
            for call in self.reopen(anew):
                self._calls[call.tag] = call
                self._unsent.append(call)
        opening = set(self._unsent)
        self._unsent += [call for call in self._calls.values() if call not in opening]
        self._something.set()
        self._connected, self._down = True, False
        if self._outage is not None:
            self._outage.cancel()
            self._outage = None
        self.up.set()

    def open_again(self, message: wire.Request) -> Call:
        """Make a call that `reopen` returns: it is sent before all others."""
        return self._make(message, patient=True)

    async def _exchange(
        self, stream: trio.abc.Stream, connection: Connection
    ) -> SpawngridError | None:
        failure: SpawngridError | None = CannotDial(f"{self.name}: connection lost")
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                try:
                    await self._send(stream, connection)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    nursery.cancel_scope.cancel()

            nursery.start_soon(send)
            try:
                await self._replies(stream, connection)
                failure = None
            except SpawngridError as error:
                failure = error
            except trio.BrokenResourceError as error:
                if isinstance(error.__cause__, SpawngridError):
                    failure = error.__cause__
            except (trio.ClosedResourceError, trio.TooSlowError):
                pass
            nursery.cancel_scope.cancel()
        return failure

    async def _send(self, stream: trio.abc.Stream, connection: Connection) -> None:
        while True:
            await self._something.wait()
            self._something = trio.Event()
            while self._unsent:
                call = self._unsent.popleft()
                if call.tag in self._calls:
                    await stream.send_all(connection.send(call.tag, call.message))

    async def _replies(self, stream: trio.abc.Stream, connection: Connection) -> None:
        """Take replies until the server says Bye."""
        while True:
            with trio.move_on_after(PING_SECONDS) as quiet:
                await _receive(stream, connection)
            if quiet.cancelled_caught:
                self.begin(wire.Ping())
                with trio.fail_after(ANSWER_SECONDS_MAX):
                    await _receive(stream, connection)
            for tag, message in connection.received():
                if isinstance(message, wire.Bye):
                    return
                call = self._calls.pop(tag, None)
                if call is not None:
                    call.finish(message)


async def _receive(stream: trio.abc.Stream, connection: Connection) -> None:
    data = await stream.receive_some(RECEIVE_SIZE)
    if not data:
        raise RemoteProtocolError("the connection ended")
    connection.feed(data)
