"""The requests that a batch becomes in each version, and what their replies say. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from venti_store import faults, wire
from venti_store.interfaces import Key
from venti_store.score import Buffer, Score
from venti_store.wire import Version

KEYS_AT_ONCE: Final = 32  # blocks in one request: 2 MiB of the usual ones
HAVE_AT_ONCE: Final = 4096
WRITE_BYTES: Final = 512 << 10  # blocks in one write, unless one is larger
WRITE_BLOCKS: Final = 1024

Asked = tuple[tuple[Key, ...], wire.Request]


def reads(version: Version, keys: Sequence[Key]) -> Iterator[Asked]:
    """Give the requests that read `keys`, each with the keys it is for."""
    if not version.native:
        for key in keys:
            yield (key,), wire.Read(key.score, key.kind, version.block_size_max)
        return
    for start in range(0, len(keys), KEYS_AT_ONCE):
        part = tuple(keys[start : start + KEYS_AT_ONCE])
        yield part, wire.ReadMany(part)


def blocks(reply: wire.Reply) -> Sequence[Buffer]:
    """Return the blocks in a reply to one of `reads`."""
    match reply:
        case wire.ReadDone(data):
            return (data,)
        case wire.Blocks():
            return reply.blocks
        case _:
            return ()


def haves(version: Version, keys: Sequence[Key]) -> Iterator[Asked]:
    """Give the requests that ask whether `keys` are there.

    Classic servers are asked for the block with room for one byte: they refuse only if it is there.
    """
    if not version.native:
        for key in keys:
            yield (key,), wire.Read(key.score, key.kind, 1)
        return
    for start in range(0, len(keys), HAVE_AT_ONCE):
        part = tuple(keys[start : start + HAVE_AT_ONCE])
        yield part, wire.HaveMany(part)


def presence(reply: wire.Reply) -> list[bool] | None:
    """Return what the reply to one of `haves` says; None if it is an error and says nothing."""
    match reply:
        case wire.HaveManyDone(flags):
            return [bool(flag) for flag in flags]
        case wire.ReadDone():
            return [True]
        case wire.Error() if faults.is_too_small(reply):
            return [True]
        case wire.Error() if faults.is_no_block(reply):
            return [False]
        case _:
            return None


def writes(version: Version, blocks: Mapping[Key, bytes]) -> Iterator[Asked]:
    """Give the requests that write `blocks`."""
    if not version.native:
        for key, data in blocks.items():
            yield (key,), wire.Write(key.kind, data)
        return
    keys: list[Key] = []
    size = 0
    for key, data in blocks.items():
        if keys and (size + len(data) > WRITE_BYTES or len(keys) == WRITE_BLOCKS):
            yield _write_many(keys, blocks)
            keys, size = [], 0
        keys.append(key)
        size += len(data)
    if keys:
        yield _write_many(keys, blocks)


def _write_many(keys: list[Key], blocks: Mapping[Key, bytes]) -> Asked:
    return tuple(keys), wire.WriteMany(tuple(wire.NewBlock(k.kind, blocks[k]) for k in keys))


def written(reply: wire.Reply) -> tuple[Score, ...]:
    """Return the scores in the reply to one of `writes`."""
    match reply:
        case wire.WriteManyDone(scores):
            return scores
        case wire.WriteDone(score):
            return (score,)
        case _:
            return ()
