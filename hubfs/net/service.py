"""Serves the hubs of a mount to clients elsewhere, each with the rights of its key.

What waits (a read at the end, a write that fear or a rate limit holds) waits in a task of its own;
everything else is answered in turn. The bytes of a read are taken from the hub when its turn to be
sent has come, so a client that does not receive costs its readers' places and nothing else. Held
writes are counted: with HELD_BYTES_MAX of them no more is read from that client.
"""

from __future__ import annotations

import errno
import logging
import secrets
import time
from collections.abc import Callable
from typing import Final

import trio

from hubfs import ctl
from hubfs.errors import BadCommand, MessageTooLarge, NoSuchHub
from hubfs.flow import Flow, hub_of
from hubfs.namespace import Namespace
from hubfs.net import wire
from hubfs.net.answers import Answers, frozen_read
from hubfs.net.connection import Connection, Role
from hubfs.net.sessions import SESSION_SECONDS, Session, Sessions
from hubfs.net.visitors import Visitor
from lib9.errors import RemoteProtocolError

log = logging.getLogger("hubfs")

RECEIVE_SIZE: Final = 256 << 10
WAITING_MAX: Final = 8192  # requests of one client that wait at once
HELD_BYTES_MAX: Final = 8 << 20  # of its writes; its own limit is lower: `link.WRITES_MAX`
SILENCE_SECONDS_MAX: Final = 45.0  # a client says something every `link.PING_SECONDS`


_CUT = (trio.BrokenResourceError, trio.ClosedResourceError)


class HubService:
    """The hubs of one mount, for everybody who may come in."""

    def __init__(
        self, names: Namespace, flow: Flow, service: str, on_quit: Callable[[], None]
    ) -> None:
        self.names = names
        self.flow = flow
        self.incarnation = secrets.randbits(63)
        self._service = service
        self._sessions = Sessions(flow)
        self._answers = Answers(names, flow, self.status, on_quit)
        self._talks: set[_Talk] = set()

    def status(self) -> bytes:
        """Return what ctl shows, with a line for each client."""
        return ctl.status_text(self.names, self._service, self._sessions.lines())

    async def converse(self, stream: trio.abc.Stream, visitor: Visitor, place: str) -> None:
        """Serve one connection until it ends; closes `stream`, raises nothing but Cancelled."""
        talk = _Talk(self, self._answers, stream)
        self._talks.add(talk)
        try:
            await talk.run(self._sessions, visitor, place)
        except Exception:
            log.exception("%s at %s: unexpected error", visitor.name, place)
        finally:
            self._talks.discard(talk)
            if talk.session is not None and talk.session.connection is talk:
                talk.session.left = time.monotonic()
            await trio.aclose_forcefully(stream)

    async def keep_house(self) -> None:
        """Forget clients that stay away; runs until cancelled."""
        while True:
            await trio.sleep(SESSION_SECONDS / 4)
            self._sessions.forget_old(time.monotonic())

    async def say_bye(self) -> None:
        """Tell all clients that these hubs are gone for good."""
        async with trio.open_nursery() as nursery:
            for talk in list(self._talks):
                nursery.start_soon(talk.say_bye)


class _Talk:
    """One connection."""

    def __init__(self, service: HubService, answers: Answers, stream: trio.abc.Stream) -> None:
        self.session: Session | None = None
        self.cancel: Callable[[], None] = lambda: None
        self._service = service
        self._answers = answers
        self._stream = stream
        self._connection = Connection(Role.SERVER)
        self._turn = trio.Lock()
        self._waiting = 0
        self._held_bytes = 0
        self._let_go = trio.lowlevel.ParkingLot()

    async def run(self, sessions: Sessions, visitor: Visitor, place: str) -> None:
        async with trio.open_nursery() as nursery:
            self.cancel = nursery.cancel_scope.cancel
            try:
                await self._receive(nursery, sessions, visitor, place)
            except (RemoteProtocolError, *_CUT) as error:
                log.info("%s at %s: %s", visitor.name, place, error)
            except trio.TooSlowError:
                log.info("%s at %s: said nothing for long", visitor.name, place)
            nursery.cancel_scope.cancel()

    async def _receive(
        self, nursery: trio.Nursery, sessions: Sessions, visitor: Visitor, place: str
    ) -> None:
        while True:
            with trio.fail_after(SILENCE_SECONDS_MAX):
                data = await self._stream.receive_some(RECEIVE_SIZE)
            if not data:
                return
            self._connection.feed(data)
            for tag, message in self._connection.received():
                if self.session is None:
                    await self._greet(sessions, visitor, place, tag, message)
                else:
                    await self._take(nursery, self.session, tag, message)

    async def say_bye(self) -> None:
        try:
            with trio.move_on_after(1):
                async with self._turn:
                    await self._stream.send_all(self._connection.send(0, wire.Bye()))
        except _CUT:
            pass  # its client will find out

    async def _greet(
        self, sessions: Sessions, visitor: Visitor, place: str, tag: int, message: wire.Message
    ) -> None:
        assert isinstance(message, wire.Hello)  # the connection sees to that
        if message.version != wire.VERSION or len(message.session) != wire.SESSION_SIZE:
            raise RemoteProtocolError(f"version {message.version} is not spoken here")
        try:
            self.session, known = sessions.resume(visitor, place, message.session)
        except OSError as error:
            await self._send(tag, _error(error))
            raise RemoteProtocolError(str(error)) from None
        if self.session.connection is not None:
            # its client is here: what an older connection still holds must not be stored twice
            self.session.connection.cancel()
        self.session.connection = self
        rights = " ".join(sorted(visitor.rights))
        welcome = wire.Welcome(self._service.incarnation, known, visitor.name, rights)
        await self._send(tag, welcome)

    async def _take(
        self, nursery: trio.Nursery, session: Session, tag: int, message: wire.Message
    ) -> None:
        if (known := session.replies.get(tag)) is not None:
            await self._send(tag, known)
        elif isinstance(message, wire.Read | wire.Write):
            if self._waiting >= WAITING_MAX:
                await self._send(tag, wire.Error(errno.EAGAIN, "too many requests at once"))
                return
            self._waiting += 1
            if isinstance(message, wire.Read):
                nursery.start_soon(self._read, session, tag, message)
                return
            data = bytes(message.data)
            nursery.start_soon(self._write, session, tag, message, data)
            self._held_bytes += len(data)
            while self._held_bytes > HELD_BYTES_MAX:
                await self._let_go.park()
        else:
            reply = self._reply(session, tag, message)
            await self._send(tag, reply)

    def _reply(self, session: Session, tag: int, message: wire.Message) -> wire.Message:
        try:
            reply = self._answers.answer(session, message)
        except OSError as error:
            reply = _error(error)
        except (BadCommand, NoSuchHub) as error:
            reply = wire.Error.of(errno.EINVAL, str(error))
        if isinstance(message, wire.ONCE):
            session.remember(tag, reply)
        return reply

    async def _read(self, session: Session, tag: int, asked: wire.Read) -> None:
        try:
            found = session.readers.get(asked.reader)
            if found is None:
                await self._send(tag, wire.Error(errno.EBADF, "no such reader"))
                return
            node, reader = found
            hub = hub_of(node)
            if (frozen := frozen_read(node, asked)) is not None:
                await self._send(tag, frozen)
                return
            size = min(asked.size, wire.DATA_SIZE_MAX)
            if asked.position <= hub.end:  # else it was frozen and cut: the reader was moved
                hub.seek(reader, asked.position)
            while True:
                await self._service.flow.until_ready(node, reader)
                async with self._turn:
                    # taken when it is its turn, so that a slow client is owed positions, not bytes
                    if (data := hub.read(reader, size)) is not None:
                        reply = wire.Data(reader.position - len(data), 0, data)
                        await self._stream.send_all(self._connection.send(tag, reply))
                        break
            self._service.flow.wake_writers(node)
        except _CUT:
            pass  # the connection ends; the client asks again on its next one
        finally:
            self._waiting -= 1

    async def _write(self, session: Session, tag: int, asked: wire.Write, data: bytes) -> None:
        try:
            reply: wire.Message
            try:
                reply = await self._store(session, tag, asked, data)
            except MessageTooLarge as error:
                reply = wire.Error.of(errno.EMSGSIZE, str(error))
            except OSError as error:
                reply = _error(error)
            session.remember(tag, reply)
            await self._send(tag, reply)
        except _CUT:
            pass
        finally:
            self._waiting -= 1
            self._held_bytes -= len(data)
            self._let_go.unpark_all()

    async def _store(
        self, session: Session, tag: int, asked: wire.Write, data: bytes
    ) -> wire.Message:
        if (known := session.replies.get(tag)) is not None:
            return known
        node = self._service.names.node(asked.ino)
        session.visitor.check_append(node)
        hub = hub_of(node)

        def stored() -> None:
            # remembered in the step that stores it: a repetition can never store it again
            session.remember(tag, wire.Wrote(len(data)))
            session.written += len(data)
            node.writer = session.visitor.name
            node.mtime_ns = time.time_ns()

        if hub.frozen:
            hub.write_frozen(len(hub) if asked.append else asked.offset, data)
            stored()
        else:
            await self._service.flow.write(node, data, patient=True, stored=stored)
        return wire.Wrote(len(data))

    async def _send(self, tag: int, reply: wire.Message) -> None:
        async with self._turn:
            await self._stream.send_all(self._connection.send(tag, reply))


def _error(error: OSError) -> wire.Error:
    return wire.Error.of(error.errno or errno.EIO, error.strerror or str(error))
