"""A client's session: many requests at a time over one stream, each waited for by who asked.

One task reads, one writes, for as long as the connection lives; both are the session's own. When it
is lost, everybody who waits hears why, and the session is done: `stores.remote` makes another.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio

from lib9.errors import Refused, RemoteProtocolError, SpawngridError
from venti_store import wire
from venti_store.outbox import Outbox
from venti_store.protocol import TAGS_MAX, Connection, Malformed, Role, State
from venti_store.versions import NoCommonVersion
from venti_store.wire import Version

RECEIVE_SIZE: Final = 512 << 10
OUT_BYTES_MAX: Final = 4 << 20  # made and not yet sent: beyond it, who asks waits
GOODBYE_SECONDS_MAX: Final = 1.0


class SessionLost(SpawngridError):
    """The connection is gone; whether a request was carried out is not known."""


class Call:
    """A request on its way, and the replies it got that nobody took yet."""

    __slots__ = ("_news", "done", "failure", "replies")

    def __init__(self) -> None:
        self.replies: deque[wire.Reply] = deque()
        self.failure: SpawngridError | None = None
        self.done = False  # no more replies come
        self._news = trio.lowlevel.ParkingLot()

    def add(self, reply: wire.Reply) -> None:
        self.replies.append(reply)
        self._news.unpark_all()

    def end(self, failure: SpawngridError | None = None) -> None:
        self.failure = failure
        self.done = True
        self._news.unpark_all()

    async def wait(self) -> list[wire.Reply]:
        """Return all replies, the last of which may be an Error; SessionLost, RemoteProtocolError."""
        while not self.done:
            await self._news.park()
        if self.failure is not None:
            raise self.failure
        return list(self.replies)

    async def next(self) -> wire.Reply | None:
        """Return the next reply as soon as it is there, None after the last; raises as `wait` does."""
        while not self.replies and not self.done:
            await self._news.park()
        if self.replies:
            return self.replies.popleft()
        if self.failure is not None:
            raise self.failure
        return None


class Session:
    """An open session. Make one with `Session.open`."""

    def __init__(self, stream: trio.abc.Stream, connection: Connection, name: str) -> None:
        self._stream = stream
        self._name = name
        self._connection = connection
        self._calls: dict[int, Call] = {}
        self._tags = trio.Semaphore(TAGS_MAX)
        self._out = Outbox(on_sent=self._sent)
        self._room = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self.received_bytes = 0
        self.failure: SpawngridError | None = None

    @classmethod
    async def open(cls, stream: trio.abc.Stream, offered: Sequence[Version], name: str) -> Session:
        """Greet the server at the other end of `stream`, which the session owns from now on.

        Messages call it `name`.

        Raises SessionLost, RemoteProtocolError, NoCommonVersion, Refused; the stream is closed
        then. How long it may take is the caller's to say.
        """
        connection = Connection(Role.CLIENT, offered)
        try:
            await stream.send_all(connection.line())
            while connection.state is State.LINE:
                connection.feed(await _receive(stream))
            _, hello = connection.request(wire.Hello(connection.version.name))
            await stream.send_all(hello)
            while connection.state is State.HELLO:
                for event in connection.events():
                    _check_welcome(event.message if not isinstance(event, Malformed) else None)
                if connection.state is State.HELLO:
                    connection.feed(await _receive(stream))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            await trio.aclose_forcefully(stream)
            raise _lost(error) from None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        session = cls(stream, connection, name)
        # not in the caller's nursery: whoever asks next may be another task, in another scope
        trio.lowlevel.spawn_system_task(session._run, name="venti session")
        return session

    @property
    def version(self) -> Version:
        return self._connection.version

    @property
    def alive(self) -> bool:
        return self.failure is None

    async def begin(self, message: wire.Request, sizes_max: Sequence[int] = ()) -> Call:
        """Send a request and return without waiting for its reply; waits for a tag and for room.

        `sizes_max` is what `Connection.request` says: a larger block ends the session.
        """
        await self._tags.acquire()
        try:
            while self._out.size >= OUT_BYTES_MAX and self.alive:
                await self._room.park()
            self._check_alive()
            tag, data = self._connection.request(message, sizes_max)
        except BaseException:
            self._tags.release()
            raise
        call = self._calls[tag] = Call()
        self._out.put(data)
        return call

    async def ask(self, message: wire.Request) -> list[wire.Reply]:
        """Send a request and return its replies, the last of which may be an Error."""
        call = await self.begin(message)
        return await call.wait()

    def give_up(self, why: str) -> None:
        """End the session at once."""
        self._fail(SessionLost(why))
        self._scope.cancel()

    async def aclose(self) -> None:
        """Say goodbye and close the connection."""
        if self.alive:
            with contextlib.suppress(SpawngridError):
                _, data = self._connection.request(wire.Goodbye())
                self._out.put(data)
                with trio.move_on_after(GOODBYE_SECONDS_MAX):
                    while self._out.size and self.alive:
                        await self._room.park()
            self.give_up("closed here")
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    def _check_alive(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _sent(self, _size: int, _frames: int) -> None:
        self._room.unpark_all()

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guard, self._read)
                    nursery.start_soon(self._guard, partial(self._out.send_to, self._stream))
        finally:
            self._fail(SessionLost("closed here"))
            await trio.aclose_forcefully(self._stream)
            self._ended.set()

    async def _guard(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run one of the two tasks; what ends it ends the session, and never the program."""
        try:
            await job()
        except RemoteProtocolError as error:
            self._fail(RemoteProtocolError(f"{self._name}: {error}"))
        except (SessionLost, Refused) as error:
            self._fail(error)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._fail(_lost(error))
        except Exception as error:  # noqa: BLE001  who waits must hear of it
            self._fail(SessionLost(f"unexpected: {error!r}"))
        self._scope.cancel()

    async def _read(self) -> None:
        while True:
            data = await _receive(self._stream)
            self.received_bytes += len(data)
            self._connection.feed(data)
            for event in self._connection.events():
                assert not isinstance(event, Malformed), "a client gets none"
                self._deliver(event.tag, event.message)

    def _deliver(self, tag: int, message: wire.Message) -> None:
        call = self._calls[tag]
        call.add(message)  # type: ignore[arg-type]  # the protocol lets no other pass
        if not getattr(message, "more", 0):
            del self._calls[tag]
            self._tags.release()
            call.end()

    def _fail(self, failure: SpawngridError) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        for call in self._calls.values():
            call.end(failure)
        for _ in self._calls:
            self._tags.release()
        self._calls.clear()
        self._room.unpark_all()


async def _receive(stream: trio.abc.Stream) -> bytes | bytearray:
    data = await stream.receive_some(RECEIVE_SIZE)
    if not data:
        raise SessionLost("the connection ended")
    return data


def _lost(error: Exception) -> SpawngridError:
    """Return what a broken stream means: a breach of the secure channel is not a mere loss."""
    cause = error.__cause__
    if isinstance(cause, RemoteProtocolError):
        return SessionLost(f"the connection broke: {cause}")
    return SessionLost("the connection broke")


def _check_welcome(message: wire.Message | None) -> None:
    if isinstance(message, wire.Error):
        raise Refused(message.reason)


__all__ = ["Call", "NoCommonVersion", "Session", "SessionLost"]
