"""The attach service of a cpu node: sessions, and the connections that they are used through."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from lib9.errors import RemoteProtocolError, SpawngridError
from spawngrid.attach import wire
from spawngrid.attach.admitted import Admitted
from spawngrid.attach.console import Console
from spawngrid.attach.processes import process_lines
from spawngrid.attach.session import AWAY_SECONDS_MAX, SESSIONS_MAX, SESSIONS_OF_ONE_MAX, Session
from spawngrid.environment.interface import Environments, NoSuchEnvironment
from spawngrid.messages import Frames

log = logging.getLogger("grid")

RECEIVE_SIZE: Final = 256 << 10
HOUSE_SECONDS: Final = 5.0
LOOK_SECONDS_MAX: Final = 10.0
OPEN_SECONDS_MAX: Final = 30.0  # a client says what it wants at once
_CUT = (trio.BrokenResourceError, trio.ClosedResourceError)


class NotNow(SpawngridError):
    """A look at an environment that takes too long."""


class AttachService:
    """Everybody who is in an environment of this node."""

    def __init__(
        self,
        environments: Environments,
        admitted: Admitted,
        *,
        audit: Callable[[str, str], None] = lambda _user, _text: None,
    ) -> None:
        self._environments = environments
        self._admitted = admitted
        self._audit = audit
        self._sessions: dict[bytes, Session] = {}
        self._ids: dict[str, str] = {}  # id of a request → id of the environment it made
        self._nursery: trio.Nursery | None = None

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    async def run(self) -> None:
        """Run the sessions; until cancelled, which ends them."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                await trio.sleep(HOUSE_SECONDS)
                now = trio.current_time()
                for name, session in list(self._sessions.items()):
                    away = session.away_since is not None and now - session.away_since
                    if not self._may_stay(session):
                        session.failure = NoSuchEnvironment("you may not enter this any longer")
                    elif not away or away <= AWAY_SECONDS_MAX:
                        continue
                    del self._sessions[name]
                    nursery.start_soon(session.hang_up)

    async def converse(self, stream: trio.abc.Stream, remote_static: bytes) -> None:
        """Serve one connection of the holder of this key; closes `stream`."""
        talk = _Talk(stream)
        try:
            with trio.fail_after(OPEN_SECONDS_MAX):
                first = await talk.next()
            try:
                session = await self._session(first, remote_static)
            except SpawngridError as error:
                await talk.send(wire.Failed(int(error.exit_code), str(error)[:500]))
                await stream.aclose()
                return
            seen = first.seen if isinstance(first, wire.Resume) else 0
            await talk.run(session, seen)
            if talk.finished:
                self._sessions.pop(session.asked.session, None)
                await stream.aclose()
        except (RemoteProtocolError, trio.TooSlowError) as error:
            log.info("attach: %s", error)
        except _CUT:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _session(self, first: wire.Message, remote_static: bytes) -> Session:
        """Return the session that a connection begins or takes up; SpawngridError if it may not."""
        if isinstance(first, wire.Resume):
            session = self._sessions.get(first.session)
            if session is None or not hmac.compare_digest(session.owner, remote_static):
                raise NoSuchEnvironment("no such session here")
            self._user(session.asked.environment, remote_static)
            return session
        if not isinstance(first, wire.Open) or first.version != wire.VERSION:
            raise RemoteProtocolError("a connection begins with Open or Resume")
        if len(first.session) != wire.SESSION_SIZE or first.session in self._sessions:
            raise RemoteProtocolError("not a name for a new session")
        user, alias = self._user(first.environment, remote_static)
        if len(self._sessions) >= SESSIONS_MAX:
            raise SpawngridError(f"{SESSIONS_MAX} sessions are the limit of this node")
        mine = sum(1 for session in self._sessions.values() if session.owner == remote_static)
        if mine >= SESSIONS_OF_ONE_MAX:
            raise SpawngridError(f"{SESSIONS_OF_ONE_MAX} sessions of yours are there already")
        environment = await self._environment_id(first.environment)
        self._audit(user, f"{_KINDS.get(first.kind, '?')} {alias}")
        session = self._sessions[first.session] = Session(first, remote_static, environment)
        assert self._nursery is not None
        self._nursery.start_soon(self._starter(session))
        await session.started.wait()
        return session

    def _starter(self, session: Session) -> Callable[[], Awaitable[None]]:
        async def command() -> None:
            await session.run(self._environments)

        async def console() -> None:
            with session.scope:
                await Console(session).run(self._environments)

        async def processes() -> None:
            def look() -> str:
                environment, _ = self._environments.status(session.environment_id)
                return "".join(f"{line}\n" for line in process_lines(environment.init_pid))

            # /proc makes readers wait for a process whose file system does not answer
            session.failure = NotNow(f"not all processes answer in {LOOK_SECONDS_MAX:g} s")
            try:
                with trio.move_on_after(LOOK_SECONDS_MAX):
                    text = await trio.to_thread.run_sync(look, abandon_on_cancel=True)
                    session.output.add(wire.OUT, os.fsencode(text)[: wire.KEPT_SIZE_MAX])
                    session.failure, session.status = None, 0
            except SpawngridError as error:
                session.failure = error
            session.started.set()
            session.changed()

        return {wire.CONSOLE: console, wire.PROCESSES: processes}.get(session.asked.kind, command)

    def _may_stay(self, session: Session) -> bool:
        """Tell whether who opened a session may enter still; a boomed environment ends it itself."""
        admission = self._admitted.find(session.asked.environment)
        return admission is None or admission.user(session.owner) is not None

    def _user(self, environment: str, remote_static: bytes) -> tuple[str, str]:
        """Return who holds this key, and what the environment is called; NoSuchEnvironment."""
        admission = self._admitted.find(environment)
        user = admission.user(remote_static) if admission is not None else None
        if admission is None or user is None:
            raise NoSuchEnvironment(f"{environment[:40]}: no such environment of yours here")
        return user, admission.alias

    async def _environment_id(self, request_id: str) -> str:
        if (known := self._ids.get(request_id)) is not None:
            return known
        found = await trio.to_thread.run_sync(self._environments.all)
        self._ids = {environment.spec.name: environment.id for environment in found}
        if request_id not in self._ids:
            raise NoSuchEnvironment(f"{request_id}: no such environment here")
        return self._ids[request_id]


_KINDS = {wire.RUN: "run", wire.TERMINAL: "attach", wire.CONSOLE: "console", wire.PROCESSES: "ps"}


class _Talk:
    """One connection, used for one session."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.finished = False
        self._stream = stream
        self._frames = Frames(wire.TABLE)
        self._ahead: list[wire.Message] = []
        self._changed = trio.Event()
        self._sent = 0
        self._acknowledged = -1

    async def next(self) -> wire.Message:
        """Return the next message; trio.BrokenResourceError at the end of the connection."""
        while not self._ahead:
            data = await self._stream.receive_some(RECEIVE_SIZE)
            if not data:
                raise trio.BrokenResourceError("the client left")
            self._frames.feed(data)
            self._ahead += _copied(self._frames)
        return self._ahead.pop(0)

    async def send(self, message: wire.Message) -> None:
        await self._stream.send_all(wire.TABLE.framed(message))

    async def run(self, session: Session, seen: int) -> None:
        """Carry until the session ends and its end was told, or the connection does."""
        session.changed()  # a connection there was before gives way
        session.changed = self._look
        session.away_since = None
        session.seen(seen)
        self._sent = max(seen, session.output.had)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, session)
                await self._send_all(session)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            broken, rest = group.split((*_CUT, RemoteProtocolError))
            if rest is not None:
                raise rest from None
            log.debug("attach: %s", broken)
        finally:
            if session.changed == self._look:
                session.changed = lambda: None
                session.away_since = trio.current_time()

    def _look(self) -> None:
        self._changed.set()

    async def _send_all(self, session: Session) -> None:
        await self.send(wire.Opened(session.taken))
        while session.changed == self._look:
            self._changed = trio.Event()
            for stream, position, data in session.output.again(self._sent):
                for start in range(0, len(data), wire.DATA_SIZE_MAX):
                    piece = data[start : start + wire.DATA_SIZE_MAX]
                    await self.send(wire.Output(stream, position + start, piece))
                self._sent = position + len(data)
            if session.acknowledged != self._acknowledged:
                self._acknowledged = session.acknowledged
                await self.send(wire.Taken(self._acknowledged))
            if self._sent == session.output.sent:
                if session.failure is not None:
                    failure = session.failure
                    await self.send(wire.Failed(int(failure.exit_code), str(failure)[:500]))
                    self.finished = True
                    return
                if session.status is not None:
                    await self.send(wire.Ended(session.status & 0xFF))
                    self.finished = True
                    return
            with suppress(trio.TooSlowError):
                await self._changed.wait()

    async def _receive(self, session: Session) -> None:
        while True:
            match await self.next():
                case wire.Input(position, data):
                    session.type(position, bytes(data))
                case wire.InputEnd():
                    session.type_end()
                case wire.Seen(position):
                    session.seen(position)
                case wire.Resize(rows, columns):
                    session.resize(rows, columns)
                case wire.Signal(number):
                    session.signal(number)
                case other:
                    raise RemoteProtocolError(f"{type(other).__name__} is out of place")


def _copied(frames: Frames[wire.Message]) -> list[wire.Message]:
    """Return the messages that are whole; what they hold is theirs, not the buffer's."""
    out: list[wire.Message] = []
    for message in frames.received():
        if isinstance(message, wire.Input):
            out.append(wire.Input(message.position, bytes(message.data)))
        else:
            out.append(message)
    return out
