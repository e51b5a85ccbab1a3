"""A store far away: pipelined, batched, and as durable as `sync` says although connections end.

What was put is kept here until a sync has come back over the very session that took it: a server
that was killed between answer and sync is given it again. Reads and syncs that lose their
connection are repeated on the next one, until their deadline.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import trio

from lib9.errors import RemoteProtocolError, SpawngridError
from lib9.streams import CannotDial, Connect
from venti_store import faults, requests, wire
from venti_store.codec import NAME_SIZE_MAX, block_size_max
from venti_store.errors import HashMismatch, StoreError, Unreachable
from venti_store.interfaces import Block, Key, LogRecord
from venti_store.kind import Kind
from venti_store.score import BLAKE3, Buffer, Family, Score
from venti_store.session import Call, Session, SessionLost
from venti_store.stores.accept import acceptable
from venti_store.stores.messages import corrupt_block

DEADLINE_SECONDS: Final = 30.0
BACKOFF_SECONDS_MIN: Final = 0.05
BACKOFF_SECONDS_MAX: Final = 2.0
ASKS_AHEAD: Final = 4  # requests of one call under way
CLASSIC_AHEAD: Final = 64  # the same, when a request is for one block
UNSYNCED_BYTES_MAX: Final = 64 << 20  # then a put syncs by itself

T = TypeVar("T")


class RemoteStore:
    """A BlockStore behind a stream. Make one with `RemoteStore.open`."""

    def __init__(
        self, name: str, connect: Connect, deadline_seconds: float, *, once: bool = False
    ) -> None:
        self.name = name
        self.family: Family = BLAKE3  # the server's, once there has been a session
        self.deadline_seconds = deadline_seconds
        self._connect = connect
        self._once = once
        self._connecting = trio.Lock()
        self._session: Session | None = None
        self._backoff_seconds = 0.0
        self._last_failure = "never connected"
        self._unsynced: dict[Key, bytes] = {}
        self._unsynced_bytes = 0
        self._unsent: dict[Key, None] = {}  # of those, what this session has not been given
        self._names: dict[bytes, Session | None] = {}  # name records not yet synced
        self._sending = trio.Lock()
        self._writes: deque[tuple[Call, tuple[Key, ...]]] = deque()  # given, and not answered
        self._syncing = trio.Lock()
        self._closed = False

    @classmethod
    async def open(
        cls,
        name: str,
        connect: Connect,
        family: Family | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        once: bool = False,
    ) -> RemoteStore:
        """Connect to the store that messages call `name`; `connect` gives a stream each time.

        With `once` a lost connection is not made anew: everything is Unreachable from then on. That
        is for those to whom it matters that they speak to the same store all the time.
        Raises Unreachable at the first failure, HashMismatch if it is not of `family`, Refused,
        RemoteProtocolError.
        """
        store = cls(name, connect, deadline_seconds, once=once)
        with store._deadline():
            session = await store._new_session()
        if session is None:
            raise Unreachable(f"{name}: {store._last_failure}")
        store.family = session.version.family
        store._session = session
        if family is not None and store.family is not family:
            await store.aclose()
            raise HashMismatch(f"{name}: its hash is {store.family.name}, not {family.name}")
        return store

    @property
    def trouble(self) -> str:
        session = self._session
        if session is not None and session.alive:
            return ""
        lost = None if session is None else session.failure
        return self._last_failure if lost is None else str(lost)

    @property
    def has_log(self) -> bool:
        """Whether the server that was last spoken to has a log, names and statistics."""
        return self._session is not None and self._session.version.native

    # reading

    async def get_many(
        self, keys: Sequence[Key], sizes_max: Mapping[Key, int] | None = None
    ) -> list[bytes]:
        """Return blocks as BlockReader says.

        With `sizes_max`, which has all of `keys`, a server that sends a larger block is found out as
        it comes: the connection ends, and RemoteProtocolError is raised. No more is held then than
        was said, and one reply.
        """
        found: dict[Key, bytes] = {}
        missing = []
        for key in dict.fromkeys(keys):
            if self._is_nothing(key):
                found[key] = b""
            elif key in self._unsynced:
                found[key] = self._unsynced[key]
            else:
                missing.append(key)

        def take(session: Session, part: Sequence[Key], reply: wire.Reply) -> int:
            self._check_reply(session, reply)
            blocks = requests.blocks(reply)
            for key, block in zip(part, blocks, strict=False):
                found[key] = self._checked(key.score, key.kind, block)
            return len(blocks)

        await self._gather(missing, requests.reads, take, sizes_max)
        return [found[key] for key in keys]

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        here: dict[Key, bool] = {}
        for key in dict.fromkeys(keys):
            here[key] = self._is_nothing(key) or key in self._unsynced

        def take(session: Session, part: Sequence[Key], reply: wire.Reply) -> int:
            flags = requests.presence(reply)
            if flags is None:
                self._check_reply(session, reply)
                return 0
            here.update(zip(part, flags, strict=False))
            return len(flags)

        await self._gather(
            [key for key, is_here in here.items() if not is_here], requests.haves, take
        )
        return [here[key] for key in keys]

    async def read_log(
        self,
        start: int,
        count: int,
        *,
        before: Score | None = None,
        contents: bool = True,
        wait_seconds: float = 0,
    ) -> list[LogRecord]:
        """Return up to `count` entries of the log from number `start` on; verified.

        Without `contents` the entries of blocks come without their bytes. With `wait_seconds`, that
        long is waited for the first. Entries that the server cannot read are `damaged`. LogDiverged
        if `before` is given and not the score of the entry before `start`; StoreError if the
        server's log cannot be read.
        """
        score = before or Score(bytes(self.family.size))
        message = wire.ReadLog(start, score, count, int(contents), int(1000 * wait_seconds))
        records: list[LogRecord] = []
        for reply in await self._ask(message, wait_seconds):
            assert isinstance(reply, wire.LogEntries), "the protocol lets no other pass"
            for record in reply.records:
                self._check_entry(record, start + len(records))
                if not record.damaged and (record.kind is None or contents):
                    data = self._checked(record.score, record.kind, record.data)
                    record = record._replace(data=data)  # noqa: PLW2901
                records.append(record)
        return records

    async def statistics(self) -> dict[str, str]:
        """Return what the server says of its store: `id`, `hash`, `last` (log number) and others."""
        [reply] = await self._ask(wire.GetStatistics())
        assert isinstance(reply, wire.Statistics), "the protocol lets no other pass"
        return dict(reply.pairs)

    # writing

    async def put_many(self, blocks: Sequence[Block]) -> None:
        """Take blocks; returns when they are on their way, not when they are there."""
        fresh = False
        for block in acceptable(blocks, self.family):
            key = Key(block.score, block.kind)
            if key not in self._unsynced:
                self._unsynced[key] = bytes(block.data)
                self._unsynced_bytes += len(block.data)
                self._unsent[key] = None
                fresh = True
        if fresh:
            await self._retried(self._send)
        if (failure := self._settle()) is not None:
            raise failure
        if self._unsynced_bytes > UNSYNCED_BYTES_MAX:
            await self.sync()

    async def append_name(self, data: Buffer) -> int:
        """Append a name record behind all blocks put before, and return its number in the log.

        Durable after the next sync.
        """
        if self._unsynced:
            await self.sync()  # a server does as many requests at a time as it gets
        record = bytes(data)
        [reply] = await self._ask(wire.AppendName(record))
        assert isinstance(reply, wire.AppendNameDone), "the protocol lets no other pass"
        self._names[record] = self._session
        return reply.number

    async def append_names(self, records: Sequence[Buffer]) -> list[int]:
        """Append name records in this order and sync; return their numbers."""
        numbers = [await self.append_name(record) for record in records]
        await self.sync()
        return numbers

    async def sync(self) -> None:
        async with self._syncing:
            await self._retried(self._sync_on)

    async def aclose(self) -> None:
        if self._closed:
            return
        try:
            if self._unsynced or self._names:
                await self.sync()
        finally:
            self._closed = True
            if self._session is not None:
                await self._session.aclose()

    async def _send(self, session: Session) -> None:
        """Give `session` all that it has not been given."""
        async with self._sending:
            while self._unsent and session is self._session:
                keys = list(self._unsent)
                data = {key: self._unsynced[key] for key in keys}
                for part, message in requests.writes(session.version, data):
                    call = await session.begin(message)
                    self._writes.append((call, part))
                    for key in part:
                        self._unsent.pop(key, None)

    async def _sync_on(self, session: Session) -> None:
        """Sync over one session that has been given everything; SessionLost: begin again."""
        await self._send(session)
        before = tuple(self._unsynced)
        for call, _ in tuple(self._writes):
            await call.wait()
        if (failure := self._settle()) is not None:
            raise failure
        names = dict(self._names)
        for name, given_to in names.items():
            if given_to is not session:
                # one that is there already stays where it is
                self._check_reply(session, (await session.ask(wire.AppendName(name)))[-1])
        self._check_reply(session, (await session.ask(wire.Sync()))[-1])
        if session is not self._session:
            raise SessionLost("another session took over")
        for key in before:
            self._unsynced_bytes -= len(self._unsynced.pop(key))
        for name in names:
            del self._names[name]

    def _settle(self) -> SpawngridError | None:
        """Look at the answers to writes; return why blocks were not taken. They are sent again."""
        failure: SpawngridError | None = None
        while self._writes and self._writes[0][0].done:
            call, keys = self._writes.popleft()
            if call.failure is not None or self._session is None:
                continue  # the next session is given them
            reply = call.replies[-1]
            if isinstance(reply, wire.Error):
                native = self._session.version.native
                failure = faults.error_of(reply, self.name, native=native)
                self._unsent.update(dict.fromkeys(keys))
            elif requests.written(reply) != tuple(key.score for key in keys):
                failure = RemoteProtocolError(f"{self.name}: took a block under another score")
                self._unsent.update(dict.fromkeys(keys))
        return failure

    # sessions

    async def _gather(
        self,
        keys: Sequence[Key],
        asks: Callable[[wire.Version, Sequence[Key]], Iterable[requests.Asked]],
        take: Callable[[Session, Sequence[Key], wire.Reply], int],
        sizes_max: Mapping[Key, int] | None = None,
    ) -> None:
        """Ask for `keys` in several requests, some at a time; each has the whole deadline.

        `take` gets each reply as it comes, with what its request has left of its keys, and returns
        how many of them it answers: the next reply is on its way meanwhile.
        """
        left = deque(keys)
        while left:
            with self._deadline():
                session = await self._ready()
            todo = iter(asks(session.version, tuple(left)))
            ahead = ASKS_AHEAD if session.version.native else CLASSIC_AHEAD
            under_way: deque[tuple[tuple[Key, ...], Call]] = deque()
            try:
                while left:
                    with self._deadline():
                        while len(under_way) < ahead and (asked := next(todo, None)):
                            part, message = asked
                            sizes = [sizes_max[key] for key in part] if sizes_max else ()
                            under_way.append((part, await session.begin(message, sizes)))
                        part, call = under_way.popleft()
                        while (reply := await call.next()) is not None:
                            count = take(session, part, reply)
                            part = part[count:]
                            for _ in range(count):
                                left.popleft()
                self._backoff_seconds = 0
            except SessionLost as lost:
                self._last_failure = str(lost)

    async def _ask(self, message: wire.Request, wait_seconds: float = 0) -> list[wire.Reply]:
        """Return the replies to one request of our own versions."""

        async def ask(session: Session) -> list[wire.Reply]:
            if not session.version.native:
                raise StoreError(f"{self.name}: a classic venti has no log, names or statistics")
            replies = await session.ask(message)
            self._check_reply(session, replies[-1])
            return replies

        return await self._retried(ask, wait_seconds)

    async def _retried(self, what: Callable[[Session], Awaitable[T]], wait_seconds: float = 0) -> T:
        """Return `await what(session)`, on as many sessions as it takes until the deadline."""
        with self._deadline(wait_seconds):
            while True:
                session = await self._ready()
                try:
                    result = await what(session)
                except SessionLost as lost:
                    self._last_failure = str(lost)
                else:
                    self._backoff_seconds = 0
                    return result
        raise AssertionError("the deadline raises")

    @contextmanager
    def _deadline(self, wait_seconds: float = 0) -> Iterator[None]:
        seconds = self.deadline_seconds + wait_seconds
        session = self._session
        received = session.received_bytes if session is not None else 0
        with trio.move_on_after(seconds) as scope:
            yield
        if scope.cancelled_caught:
            why = f"no answer in {seconds:g} s"
            if session is None or not session.alive:
                why += f" ({self._last_failure})"
            elif session.received_bytes == received:
                session.give_up(why)  # it has said nothing at all
            raise Unreachable(f"{self.name}: {why}")

    async def _ready(self) -> Session:
        """Return a session that was alive just now; waits between attempts to make one."""
        if self._session is not None and self._session.alive:
            return self._session
        async with self._connecting:
            while self._session is None or not self._session.alive:
                if self._closed:
                    raise StoreError(f"{self.name}: closed")
                if self._once:
                    raise Unreachable(f"{self.name}: {self._last_failure}")
                if self._backoff_seconds:
                    # not all clients of a server that came back at the same moment
                    await trio.sleep(self._backoff_seconds * random.uniform(0.5, 1))
                doubled = 2 * self._backoff_seconds
                self._backoff_seconds = min(max(doubled, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
                session = await self._new_session()
                if session is None:
                    continue
                if session.version.family is not self.family:
                    await session.aclose()
                    raise HashMismatch(f"{self.name}: is another store now, of another hash")
                self._session = session
                self._writes.clear()
                self._unsent = dict.fromkeys(self._unsynced)
            return self._session

    async def _new_session(self) -> Session | None:
        """Connect; None when nobody answered, `_last_failure` says why."""
        try:
            stream = await self._connect()
            return await Session.open(stream, tuple(wire.VERSIONS.values()), self.name)
        except CannotDial as error:
            self._last_failure = str(error).removeprefix(f"{self.name}: ")
        except SessionLost as error:
            self._last_failure = str(error)
        return None

    # checking

    def _check_reply(self, session: Session, reply: wire.Reply) -> None:
        if isinstance(reply, wire.Error):
            raise faults.error_of(reply, self.name, native=session.version.native)

    def _check_entry(self, record: LogRecord, number: int) -> None:
        if record.number != number:
            raise RemoteProtocolError(
                f"{self.name}: log entry {record.number} where {number} is due"
            )
        limit = NAME_SIZE_MAX if record.kind is None else block_size_max(self.family)
        if record.size > limit:
            raise RemoteProtocolError(
                f"{self.name}: log entry {number} says it has {record.size} bytes, the limit is {limit}"
            )

    def _checked(self, score: Score, kind: Kind | None, data: Buffer) -> bytes:
        if self.family.score(data) != score:
            raise corrupt_block(score, kind, self.name, "bytes do not match the score")
        return bytes(data)

    def _is_nothing(self, key: Key) -> bool:
        if len(key.score) != self.family.size:
            raise HashMismatch(f"{key.score.hex()}: not a {self.family.name} score")
        return self.family.is_nothing(key.score)
