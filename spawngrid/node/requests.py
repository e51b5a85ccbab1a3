"""The request service: what users ask, by channel or by hub, goes into the queue and is announced.

Answers are read from the queue's files, so none is lost or said twice; a line in a hub only wakes
who waits for it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import trio

from hubfs.flow import hub_of
from hubfs.namespace import Node
from lib9.errors import Exit, RemoteProtocolError, SpawngridError
from lib9.faults import fault
from lib9.keys import Peer
from lib9.telling import one_line
from spawngrid.errors import BadWord, RequestFailed
from spawngrid.hubtexts.words import check_words
from spawngrid.messages import Frames
from spawngrid.node.gridsvc import GridHubs
from spawngrid.request import wire
from spawngrid.request.queue import Queue, Request
from spawngrid.settings.allowance import TURN_SECONDS, Allowance

log = logging.getLogger("grid")

LOOK_SECONDS: Final = 1.0  # a wake that was missed costs so much and no more
RECEIVE_SIZE: Final = 64 << 10
IDLE_SECONDS_MAX: Final = 600.0
SAID_SIZE_MAX: Final = 1000  # characters of a line that a user is told
LINE_SIZE_MAX: Final = 4096  # of a request typed into a hub
REQUESTS_MAX: Final = 600  # of one user in one turn: each is a line of the audit log, and an fsync
Audited = Callable[[str, str], None]
_CUT = (trio.BrokenResourceError, trio.ClosedResourceError)


class RequestService:
    """Requests of every user of a storage node."""

    def __init__(self, queue: Queue, hubs: GridHubs, audit: Audited, refusals: Audited) -> None:
        """`audit` is told what is taken, by whom, `refusals` what is not."""
        self._queue = queue
        self._hubs = hubs
        self._audit, self._refusals = audit, refusals
        self._allowance = Allowance(REQUESTS_MAX)
        self._waiting: defaultdict[str, list[trio.Event]] = defaultdict(list)
        self._followed: set[str] = set()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Follow the hubs of users; until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                await trio.sleep(TURN_SECONDS)
                self._allowance.turn()

    def follow(self, user: str) -> None:
        """Take requests from this user's hub, and wake who waits for what is said in the other."""
        assert self._nursery is not None
        if user in self._followed:
            return
        inward, outward = self._hubs.of_user(user)
        self._followed.add(user)
        self._nursery.start_soon(self._take_lines, user, inward)
        self._nursery.start_soon(self._wake_waiting, user, outward)

    async def converse(self, stream: trio.abc.Stream, peer: Peer) -> None:
        """Serve one connection of a user; closes `stream`."""
        self.follow(peer.name)
        frames = Frames(wire.TABLE)
        try:
            while True:
                with trio.fail_after(IDLE_SECONDS_MAX):
                    data = await stream.receive_some(RECEIVE_SIZE)
                if not data:
                    await stream.aclose()
                    return
                frames.feed(bytes(data))
                for message in list(frames.received()):
                    await self._answer(stream, peer.name, _ask(message))
        except (RemoteProtocolError, trio.TooSlowError) as error:
            log.info("%s: %s", peer.name, error)
        except _CUT:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.abc.Stream, user: str, ask: wire.Ask) -> None:
        async def send(message: wire.Message) -> None:
            await stream.send_all(wire.TABLE.framed(message))

        try:
            if len(ask.mark) != wire.MARK_SIZE:
                raise BadWord("a mark has 16 bytes")
            request = await self.take(user, ask.words, ask.mark.hex())
        except SpawngridError as error:
            await send(wire.Failed(int(error.exit_code), str(error)[:500]))
            return
        await send(wire.Queued(request.id))
        said = 0
        while True:
            event = trio.Event()
            self._waiting[request.id].append(event)
            try:
                answer = self._queue.answer(request.id, said)
                for line in answer.lines:
                    await send(wire.Says(line[:SAID_SIZE_MAX]))
                said += len(answer.lines)
                if answer.status is not None:
                    break
                with trio.move_on_after(LOOK_SECONDS):
                    await event.wait()
            finally:
                self._forget(request.id, event)
        done = wire.Failed(answer.status, answer.text[:500]) if answer.status else wire.Done()
        await send(done)

    def _forget(self, request_id: str, event: trio.Event) -> None:
        waiting = self._waiting[request_id]
        waiting.remove(event)
        if not waiting:
            del self._waiting[request_id]

    async def take(self, user: str, words: tuple[str, ...], mark: str) -> Request:
        """Keep a request, say so in sto.in, and return it; SpawngridError if it is none.

        One that was asked before is the one it was, and nothing new for the audit log.
        """
        said = " ".join(words)
        try:
            check_words(words)
            request = self._queue.asked(user, words, mark)
            if request is None:
                self._check_allowance(user)
                # no thread: an fsync of a small file, and what is asked next must not overtake it
                request = self._queue.add(user, words, mark)
                self._audit(user, said)
        except SpawngridError as error:
            self._refusals(user, f"refused: {error}: {said}")
            raise
        fault("node.before-announce")
        await self._hubs.write("sto.in", f"{user} req {request.id}")
        return request

    def _check_allowance(self, user: str) -> None:
        if not self._allowance.take(user):
            text = f"{REQUESTS_MAX} requests in {TURN_SECONDS:.0f} s are the limit"
            raise RequestFailed(text, Exit.FAILED)

    async def _take_lines(self, user: str, node: Node) -> None:
        """Requests typed into a user's hub. Who may write there is known by the channel."""
        hub = hub_of(node)
        reader = hub.attach("node")
        rest = b""
        while data := await self._hubs.flow.read(node, reader, LINE_SIZE_MAX):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-LINE_SIZE_MAX:]
            for line in lines:
                await self._take_line(user, line.decode(errors="replace"))

    async def _take_line(self, user: str, line: str) -> None:
        words = tuple(line.split())
        if not words or words == ("exit",):
            return
        try:
            await self.take(user, words, "")
        except SpawngridError as error:
            await self._say(user, f"- failed {int(error.exit_code)} {error}")

    async def _say(self, user: str, text: str) -> None:
        await self._hubs.write(f"out/{user}", one_line(text, SAID_SIZE_MAX))

    async def _wake_waiting(self, _user: str, node: Node) -> None:
        hub = hub_of(node)
        reader = hub.attach("node")
        rest = b""
        while data := await self._hubs.flow.read(node, reader, 64 << 10):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                for event in self._waiting.get(line.split(b" ")[0].decode(errors="replace"), ()):
                    event.set()


def _ask(message: wire.Message) -> wire.Ask:
    if not isinstance(message, wire.Ask) or message.version != wire.VERSION:
        raise RemoteProtocolError(f"{type(message).__name__} is out of place")
    return message
