"""The version lines that open a session, and what both sides choose from them.

Each side sends its line at once. Both choose on their own: the first token of the peer's line that
is one of one's own. The peer's order decides, so lists go newest first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lib9.errors import RemoteProtocolError
from venti_store.wire import VERSIONS, Version

LINE_SIZE_MAX: Final = 1023  # bytes, newline not counted
CLASSIC_NAMES: Final = ("04", "02")
_PREFIX: Final = b"venti-"


class NoCommonVersion(RemoteProtocolError):
    """The peer speaks venti, but no version of it that this side can."""


def line(offered: Sequence[Version]) -> bytes:
    """Return the version line that offers `offered`.

    A store without classic versions says why in the comment: a classic client shows no other text.
    """
    names = ":".join(version.name for version in offered)
    if any(version.name in CLASSIC_NAMES for version in offered):
        return f"venti-{names}-spawngrid\n".encode()
    # one token to whoever scans it for versions: no dash or colon inside
    return f"venti-{names}-spawngrid, {offered[0].family.name} store, classic clients need sha1\n".encode()


class LineReader:
    """Collects the peer's line from bytes as they come."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the line and what came behind it, or None when the line is not complete.

        RemoteProtocolError as soon as it can be no version line.
        """
        head, newline, rest = (self._data + data).partition(b"\n")
        if head[: len(_PREFIX)] != _PREFIX[: len(head)] or (newline and len(head) < len(_PREFIX)):
            raise RemoteProtocolError(f"not a venti peer: it says {head[:40]!r}")
        if len(head) > LINE_SIZE_MAX:
            raise RemoteProtocolError("the version line is too long")
        if any(not 0x20 <= byte <= 0x7F for byte in head):
            raise RemoteProtocolError("the version line is not plain ASCII")
        if newline:
            return head, rest
        self._data = head
        return None


def tokens(head: bytes) -> list[str]:
    """Return what a version line offers, in order; what else it may hold is harmless."""
    return re.split("[:-]", head[len(_PREFIX) :].decode("ascii"))


def choose(head: bytes, offered: Sequence[Version]) -> Version:
    """Return the version that both sides use; NoCommonVersion names what either side has."""
    own = {version.name: version for version in offered}
    theirs = tokens(head)
    for token in theirs:
        if token in own:
            return own[token]
    named = ", ".join(token for token in theirs if token in VERSIONS) or "none known"
    raise NoCommonVersion(f"no common version: the peer has {named}, this side {', '.join(own)}")


def framed_as(chosen: Version, start: bytes, head: bytes, offered: Sequence[Version]) -> Version:
    """Return the classic version that a first frame starting with `start` (2 bytes) is of.

    When the lines order 02 and 04 differently the sides choose differently; the first frame of a
    client shows its choice: no hello fills 64 KiB, so 04's size begins with two zero bytes.
    """
    if chosen.name not in CLASSIC_NAMES:
        return chosen
    meant = "04" if start == b"\0\0" else "02"
    if meant != chosen.name and meant in tokens(head):
        return next((version for version in offered if version.name == meant), chosen)
    return chosen
