"""Every message of the venti protocol and its bytes, said once.

`CLASSIC` and `NATIVE` are the tables: packing, unpacking, the reference page and the strategies of
the tests are all made from them (`lib9.messages`). A tag is a byte.

Source: venti(7), and what plan9port's programs were seen to send.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from lib9.fields import REST, STRING, U8, U32, U64, VAR, Many, Pad, Record
from lib9.messages import Layout, Table
from venti_store.fields import BLOB, COUNT, KIND, SCORE, Context
from venti_store.interfaces import Key, LogRecord
from venti_store.kind import BLOCK_SIZE_MAX, BLOCK_SIZE_MAX_CLASSIC, Kind
from venti_store.score import BLAKE3, SHA1, Buffer, Family, Score

LOG_WAIT_MS_MAX: Final = 600_000  # a server holds a request for the log's end no longer


class Fault(IntEnum):
    """Why a request failed, for programs; the reason beside it is for people."""

    OTHER = 0
    NO_SUCH_BLOCK = 1
    CORRUPT_BLOCK = 2
    BLOCK_TOO_LARGE = 3
    STORE_FULL = 4
    READ_ONLY = 5
    BAD_REQUEST = 6  # the message makes no sense, or not now
    REFUSED = 7  # this peer may not do that
    UNREACHABLE = 8  # a store behind this one did not answer
    LOG_DIVERGED = 9  # the entry before the first one asked for is another, or gone


@dataclass(frozen=True, slots=True)
class Error:
    """The answer to any request that failed."""

    reason: str
    fault: Fault = Fault.OTHER


@dataclass(frozen=True, slots=True)
class Ping:
    """Is anybody there?"""


@dataclass(frozen=True, slots=True)
class Pong:
    """Yes."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first request of every session, under tag 0; `version` is the one both sides chose."""

    version: str
    user: str = "anonymous"
    strength: int = 0
    crypto: bytes = b""
    codec: bytes = b""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The session is open."""

    server: str = "anonymous"
    crypto: int = 0
    codec: int = 0


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The last message of a client; it gets no reply."""


@dataclass(frozen=True, slots=True)
class Read:
    """Give one block of at most `size_max` bytes."""

    score: Score
    kind: Kind
    size_max: int


@dataclass(frozen=True, slots=True)
class ReadDone:
    """The block, zero-truncated."""

    data: Buffer


@dataclass(frozen=True, slots=True)
class Write:
    """Take one block, zero-truncated."""

    kind: Kind
    data: Buffer


@dataclass(frozen=True, slots=True)
class WriteDone:
    """The block was taken; it is durable after the next sync."""

    score: Score


@dataclass(frozen=True, slots=True)
class Sync:
    """Answer when everything written before this is on stable storage."""


@dataclass(frozen=True, slots=True)
class SyncDone:
    """It is."""


@dataclass(frozen=True, slots=True)
class ReadMany:
    """Give these blocks, in this order, in as many replies as it takes."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The next of the blocks asked for, at least one; `more` is 1 when others follow."""

    more: int
    blocks: tuple[Buffer, ...]


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block to write."""

    kind: Kind
    data: Buffer


@dataclass(frozen=True, slots=True)
class WriteMany:
    """Take these blocks, zero-truncated."""

    blocks: tuple[NewBlock, ...]


@dataclass(frozen=True, slots=True)
class WriteManyDone:
    """The blocks were taken, with these scores; they are durable after the next sync."""

    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class HaveMany:
    """Which of these blocks are there?"""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class HaveManyDone:
    """One byte for each key asked for: 1 for a block that is there, else 0."""

    flags: Buffer


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Give up to `count` entries of the log from number `start` on.

    `before` is the score of the entry before `start`, all zeros if that does not matter: a log that
    has another one there is answered for with LOG_DIVERGED. With `contents` 0 the entries of blocks
    come without their bytes; name records always have theirs. With `wait_ms` over 0 and no such
    entry yet, the answer may take that long, up to LOG_WAIT_MS_MAX.
    """

    start: int
    before: Score
    count: int
    contents: int = 0
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class LogEntries:
    """The next entries of the log; `more` is 1 when other replies to this request follow.

    An entry that the server cannot read has its number only: no kind, no bytes, size 0.
    """

    more: int
    records: tuple[LogRecord, ...]


@dataclass(frozen=True, slots=True)
class AppendName:
    """Append a name record; its blocks are there already. Durable after the next sync."""

    data: Buffer


@dataclass(frozen=True, slots=True)
class AppendNameDone:
    """The number of the entry in the log; a record that was there already has its own."""

    number: int


@dataclass(frozen=True, slots=True)
class GetStatistics:
    """How does the store do?"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Names and values; `id` (the store's identity) and `last` (the log's end) are always there."""

    pairs: tuple[tuple[str, str], ...]


Request = (
    Ping | Hello | Goodbye | Read | Write | Sync
    | ReadMany | WriteMany | HaveMany | ReadLog | AppendName | GetStatistics
)  # fmt: skip
Reply = (
    Error | Pong | Welcome | ReadDone | WriteDone | SyncDone
    | Blocks | WriteManyDone | HaveManyDone | LogEntries | AppendNameDone | Statistics
)  # fmt: skip
Message = Request | Reply

REPLY_TO: Final[dict[type[Request], type[Reply]]] = {
    Ping: Pong,
    Hello: Welcome,
    Read: ReadDone,
    Write: WriteDone,
    Sync: SyncDone,
    ReadMany: Blocks,
    WriteMany: WriteManyDone,
    HaveMany: HaveManyDone,
    ReadLog: LogEntries,
    AppendName: AppendNameDone,
    GetStatistics: Statistics,
}


_KEY = Record(Key, (("score", SCORE), ("kind", KIND)))
_NEW_BLOCK = Record(NewBlock, (("kind", KIND), ("data", BLOB)))
_LOG_RECORD = Record(
    LogRecord,
    (("number", U64), ("kind", KIND.or_none()), ("score", SCORE), ("data", BLOB), ("size", U32)),
)
_PAIR = Record(None, (("name", STRING), ("value", STRING)))

_COMMON: Final[dict[type[Message], Layout]] = {
    Ping: Layout(2),
    Pong: Layout(3),
    Hello: Layout(4, (STRING, STRING, U8, VAR, VAR)),
    Welcome: Layout(5, (STRING, U8, U8)),
    Goodbye: Layout(6),
    Sync: Layout(16),
    SyncDone: Layout(17),
}

CLASSIC: Final[Table[Message]] = Table(
    _COMMON
    | {
        Error: Layout(1, (STRING,)),
        Read: Layout(12, (SCORE, KIND, Pad(1), COUNT)),
        ReadDone: Layout(13, (REST,)),
        Write: Layout(14, (KIND, Pad(3), REST)),
        WriteDone: Layout(15, (SCORE,)),
    },
    tag_size=1,
)

NATIVE: Final[Table[Message]] = Table(
    _COMMON
    | {
        Error: Layout(1, (STRING, U8.of(Fault))),
        ReadMany: Layout(32, (Many(_KEY),)),
        Blocks: Layout(33, (U8, Many(BLOB))),
        WriteMany: Layout(34, (Many(_NEW_BLOCK),)),
        WriteManyDone: Layout(35, (Many(SCORE),)),
        HaveMany: Layout(36, (Many(_KEY),)),
        HaveManyDone: Layout(37, (REST,)),
        ReadLog: Layout(38, (U64, SCORE, U32, U8, U32)),
        LogEntries: Layout(39, (U8, Many(_LOG_RECORD))),
        AppendName: Layout(40, (BLOB,)),
        AppendNameDone: Layout(41, (U64,)),
        GetStatistics: Layout(42),
        Statistics: Layout(43, (Many(_PAIR),)),
    },
    tag_size=1,
)


@dataclass(frozen=True, slots=True)
class Version:
    """What a version token stands for."""

    name: str
    table: Table[Message]
    family: Family
    prefix_size: int  # bytes of the size before each frame
    body_size_max: int
    block_size_max: int

    @property
    def native(self) -> bool:
        return self.table is NATIVE


_BODY_NATIVE: Final = BLOCK_SIZE_MAX + (64 << 10)  # any one block, or many, and what is around
_BODY_04: Final = 128 << 10  # twice what a block may have: too large a block gets an answer
VERSIONS: Final = {
    version.name: version
    for version in (
        Version("b1", NATIVE, BLAKE3, 4, _BODY_NATIVE, BLOCK_SIZE_MAX),
        Version("s1", NATIVE, SHA1, 4, _BODY_NATIVE, BLOCK_SIZE_MAX_CLASSIC),
        Version("04", CLASSIC, SHA1, 4, _BODY_04, BLOCK_SIZE_MAX_CLASSIC),
        Version("02", CLASSIC, SHA1, 2, 0xFFFF, BLOCK_SIZE_MAX_CLASSIC),
    )
}


def versions_of(family: Family) -> tuple[Version, ...]:
    """Return the versions that a store of `family` can speak, the best first."""
    return tuple(version for version in VERSIONS.values() if version.family is family)


def pack(version: Version, tag: int, message: Message) -> list[Buffer]:
    """Return the body that carries `message` under `tag`, in parts; LocalProtocolError if it cannot."""
    return version.table.pack(tag, message, Context(version.family))


def unpack(version: Version, body: memoryview) -> tuple[int, Message]:
    """Return the tag and the message of a body; inverse of `pack`.

    Raises RemoteProtocolError for every body that `pack` could not have made, pads aside.
    """
    return version.table.unpack(body, Context(version.family))
