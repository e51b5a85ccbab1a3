"""The page of the wire protocol, from the tables of venti_store.wire."""

from collections.abc import Sequence

from lib9.messages import Table
from venti_store import wire
from venti_store.conversation import Limits
from venti_store.room import SHARE_MAX, SHARE_MIN

INTRO = """\
# The venti protocol

Over a connection (a unix socket, TCP, or a secure stream, see {doc}`/explanation/security`) a
client asks and a server answers. This page is made from the tables in `venti_store/wire.py`;
`venti_store/protocol.py` is the state machine of both ends.

## Version lines

Both sides send, at once, `venti-` VERSIONS `-` COMMENT and a newline: VERSIONS separated by colons,
at most 1,023 bytes, each from 0x20 to 0x7f. Each side takes the first token of the *peer's* line
(split at `:` and `-`) that is one of its own. So lists go newest first. A server takes a client's
first frame for what it is when both have 02 and 04 but order them differently: the size in front of
an 04 hello begins with two zero bytes.

{versions}

The classic versions are those of Plan 9 and plan9port; a blake3 store does not offer them, and says
so in its comment. Versions b1 and s1 are one protocol for either hash.

## Frames

A frame is a size (big-endian, not counting itself) and that many bytes of body: a code, a tag, and
the fields of the message. A frame over the limit of its version ends the connection. Tags are
chosen by the client; up to 256 requests may be open, and are answered in any order. A reply has the
code of its request plus one, or it is an Error. Blocks and LogEntries may come in several parts
under one tag, all but the last with `more` set.

The first request is Hello, under tag 0, with the version both chose; anything else before it ends
the connection. A request that makes no sense, has an unknown code, or names an invalid block type
is answered with an Error, and the connection goes on; only frames without code and tag, and a tag
that is in use, end it.

Read of the score of nothing, or of zero bytes, gives an empty block. Writes are durable after the
next Sync. Write kinds are the types on disk: 13 data, 2 directory, 3 to 9 pointers, 1 root. A score
is 20 bytes (sha1) or 32 (blake3).
"""

LIMITS = """\
## Limits

| limit | value |
|---|---|
| requests open on a connection | 256 |
| string | 1,024 bytes |
| memory that one client may fill | {share_min:,} bytes always, up to {share_max:,} while others leave it |
| memory of all clients | {memory:,} bytes (`--memory`) |
| time until the hello | {limits.hello_seconds_max:g} s |
| time without a request | {limits.idle_seconds_max:g} s (`--idle`) |
| time in which a client takes none of its replies | {limits.stalled_seconds_max:g} s |
| time for requests under way when the server ends | {limits.drain_seconds_max:g} s |
"""


def wire_page() -> str:
    """Return the page."""
    parts = [
        INTRO.replace("{versions}", _versions()),
        "## Messages of versions 02 and 04\n",
        _messages(wire.CLASSIC),
        "\n## Messages of versions b1 and s1\n",
        _messages(wire.NATIVE),
        "\n## Faults\n",
        "The `fault` of an Error of versions b1 and s1; the reason beside it is for people.\n",
        _table(("number", "name"), [(str(int(f)), f.name) for f in wire.Fault]),
        LIMITS.format(
            limits=Limits(),
            share_min=SHARE_MIN,
            share_max=SHARE_MAX,
            memory=Limits().memory_bytes_max,
        ),
    ]
    return "\n".join(parts)


def _versions() -> str:
    rows = [
        (
            f"`{v.name}`",
            v.family.name,
            f"{8 * v.prefix_size} bits",
            f"{v.body_size_max:,}",
            f"{v.block_size_max:,}",
        )
        for v in wire.VERSIONS.values()
    ]
    return _table(("version", "scores", "size in front", "largest body", "largest block"), rows)


def _messages(table: Table[wire.Message]) -> str:
    rows = []
    for kind, layout in sorted(table.layouts.items(), key=lambda item: item[1].code):
        fields = (
            "; ".join(f"{name} {field.text}".strip() for name, field in table.named(kind)) or "–"
        )
        meaning = " ".join((kind.__doc__ or "").split())
        rows.append((str(layout.code), kind.__name__, fields, meaning))
    return _table(("code", "message", "fields after code and tag", "means"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line).replace("\n", " ") + " |\n" for line in lines)
