"""Every message of the hub protocol and its bytes, said once.

`TABLE` gives packing, unpacking, the reference page and the strategies of the tests. A tag is a u64; a
body lies behind its size (u32). A reply has the tag of its request; a client never uses a tag twice
in a session, so that a request that is repeated after a reconnect is carried out once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lib9.errors import LocalProtocolError
from lib9.fields import REST, STRING, U8, U32, U64, VAR, Counted, Many, Record
from lib9.framing import Buffer
from lib9.messages import Layout, Table
from lib9.telling import one_line

VERSION: Final = 1
DATA_SIZE_MAX: Final = 1 << 20  # bytes of a hub in one message
BODY_SIZE_MAX: Final = DATA_SIZE_MAX + 4096
SESSION_SIZE: Final = 16  # bytes that name a session: random, known to its client only
PATH: Final = Counted(2, 511)  # a group, a slash, a name
REASON_SIZE_MAX: Final = 250  # characters
AT_THE_END: Final = (1 << 64) - 1  # Open: where new readers of this hub start


@dataclass(frozen=True, slots=True)
class Facts:
    """What a client is told of a name. `mine` is 1 where it may do what an owner may."""

    ino: int
    mode: int
    links: int
    size: int
    mtime_ns: int
    mine: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The first request of each connection; a session outlives its connections for a while."""

    version: int
    session: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """`incarnation` changes when the server starts anew; `known`: it still has this session."""

    incarnation: int
    known: int
    you: str
    rights: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""


@dataclass(frozen=True, slots=True)
class Done:
    """It was done."""


@dataclass(frozen=True, slots=True)
class Error:
    """It was not done, and why: an errno of Linux, and a reason for people."""

    number: int
    reason: str

    @classmethod
    def of(cls, number: int, reason: str) -> Error:
        """Return an error whose reason fits, whatever it quotes."""
        return cls(number, one_line(reason, REASON_SIZE_MAX))


@dataclass(frozen=True, slots=True)
class Lookup:
    parent: int
    name: bytes


@dataclass(frozen=True, slots=True)
class GetFacts:
    ino: int


@dataclass(frozen=True, slots=True)
class Told:
    facts: Facts


@dataclass(frozen=True, slots=True)
class List:
    """The names of a group, from those made after inode `after`."""

    ino: int
    after: int


@dataclass(frozen=True, slots=True)
class Name:
    name: bytes
    facts: Facts


@dataclass(frozen=True, slots=True)
class Names:
    """The next names in order; none: there are no more."""

    names: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Create:
    parent: int
    name: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class MakeGroup:
    parent: int
    name: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Remove:
    parent: int
    name: bytes


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    parent: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Rename:
    parent: int
    name: bytes
    new_parent: int
    new_name: bytes
    replace: int


@dataclass(frozen=True, slots=True)
class SetMode:
    ino: int
    mode: int


@dataclass(frozen=True, slots=True)
class Open:
    """Make reader number `reader` of this session, at `position` of the bytes ever written.

    `ino` 0: the hub that `path` names. A reader that is there already stays as it is.
    """

    reader: int
    ino: int
    path: bytes
    position: int


@dataclass(frozen=True, slots=True)
class Opened:
    """`position` is later than asked for when what was there is no longer kept."""

    ino: int
    position: int


@dataclass(frozen=True, slots=True)
class Close:
    reader: int


@dataclass(frozen=True, slots=True)
class Read:
    """Wait for bytes from `position` on. A frozen hub answers a `fresh` reader from `offset`."""

    reader: int
    position: int
    size: int
    offset: int
    fresh: int


@dataclass(frozen=True, slots=True)
class Data:
    """`position` is that of the first byte; no bytes are end of file."""

    position: int
    frozen: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class Write:
    """Store one message; `offset` counts for a frozen hub only, unless `append`."""

    ino: int
    offset: int
    append: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class Wrote:
    size: int


@dataclass(frozen=True, slots=True)
class GetStatus:
    """What does ctl show?"""


@dataclass(frozen=True, slots=True)
class Status:
    text: Buffer


@dataclass(frozen=True, slots=True)
class Command:
    """Lines for ctl."""

    text: Buffer


@dataclass(frozen=True, slots=True)
class Bye:
    """From the server, with tag 0: the hubs are gone for good."""


Request = (
    Hello | Ping | Lookup | GetFacts | List | Create | MakeGroup | Remove | RemoveGroup | Rename
    | SetMode | Open | Close | Read | Write | GetStatus | Command
)  # fmt: skip
Reply = Welcome | Done | Error | Told | Names | Opened | Data | Wrote | Status | Bye
Message = Request | Reply

REPLY_TO: Final[dict[type[Request], type[Reply]]] = {
    Hello: Welcome,
    Ping: Done,
    Lookup: Told,
    GetFacts: Told,
    List: Names,
    Create: Told,
    MakeGroup: Told,
    Remove: Done,
    RemoveGroup: Done,
    Rename: Done,
    SetMode: Told,
    Open: Opened,
    Close: Done,
    Read: Data,
    Write: Wrote,
    GetStatus: Status,
    Command: Done,
}
# carried out once, however often it is sent
ONCE: Final = (Create, MakeGroup, Remove, RemoveGroup, Rename, SetMode, Write, Command)


_FACTS = Record(
    Facts,
    (("ino", U64), ("mode", U32), ("links", U32), ("size", U64), ("mtime_ns", U64), ("mine", U8)),
)
_NAME = Record(Name, (("name", VAR), ("facts", _FACTS)))

TABLE: Final[Table[Message]] = Table(
    {
        Error: Layout(1, (U32, STRING)),
        Done: Layout(2),
        Bye: Layout(3),
        Ping: Layout(4),
        Hello: Layout(6, (U32, VAR)),
        Welcome: Layout(7, (U64, U8, STRING, STRING)),
        Lookup: Layout(8, (U64, VAR)),
        Told: Layout(9, (_FACTS,)),
        GetFacts: Layout(10, (U64,)),
        List: Layout(12, (U64, U64)),
        Names: Layout(13, (Many(_NAME),)),
        Create: Layout(14, (U64, VAR, U32)),
        MakeGroup: Layout(16, (U64, VAR, U32)),
        Remove: Layout(18, (U64, VAR)),
        RemoveGroup: Layout(20, (U64, VAR)),
        Rename: Layout(22, (U64, VAR, U64, VAR, U8)),
        SetMode: Layout(24, (U64, U32)),
        Open: Layout(32, (U64, U64, PATH, U64)),
        Opened: Layout(33, (U64, U64)),
        Close: Layout(34, (U64,)),
        Read: Layout(36, (U64, U64, U32, U64, U8)),
        Data: Layout(37, (U64, U8, REST)),
        Write: Layout(38, (U64, U64, U8, REST)),
        Wrote: Layout(39, (U32,)),
        GetStatus: Layout(40),
        Status: Layout(41, (REST,)),
        Command: Layout(42, (REST,)),
    },
    tag_size=8,
)


def pack(tag: int, message: Message) -> list[Buffer]:
    """Return the body that carries `message`, in parts; LocalProtocolError if it cannot."""
    out = TABLE.pack(tag, message)
    if sum(map(len, out)) > BODY_SIZE_MAX:
        raise LocalProtocolError(f"{type(message).__name__}: longer than {BODY_SIZE_MAX} bytes")
    return out


def unpack(body: memoryview) -> tuple[int, Message]:
    """Return tag and message; RemoteProtocolError for a body that `pack` could not have made."""
    return TABLE.unpack(body)
