"""The kinds of field that only messages of venti have; the others are lib9's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lib9.errors import LocalProtocolError
from lib9.fields import Counted, UInt, end_of
from venti_store.kind import BLOCK_SIZE_MAX, Kind
from venti_store.score import Buffer, Family, Score


@dataclass(frozen=True, slots=True)
class Context:
    """What the bytes of a field depend on besides its value."""

    family: Family


@dataclass(frozen=True, slots=True)
class Count:
    """The last field of a read: two bytes, or four for what two cannot hold; either is taken."""

    text: str = "u16, or u32 from 65536 on"

    def pack(self, value: int, out: list[Buffer], context: Context) -> None:
        if not 0 <= value < 1 << 32:
            raise LocalProtocolError(f"{value} does not fit in 4 bytes")
        out.append(value.to_bytes(2 if value < 1 << 16 else 4, "big"))

    def unpack(self, body: memoryview, at: int, context: Context) -> tuple[int, int]:
        size = 2 if len(body) - at == 2 else 4
        end = end_of(body, at, size)
        return int.from_bytes(body[at:end], "big"), end


@dataclass(frozen=True, slots=True)
class ScoreField:
    """A score: as many bytes as the version's hash has."""

    text: str = "score"

    def pack(self, value: Score, out: list[Buffer], context: Context) -> None:
        if len(value) != context.family.size:
            raise LocalProtocolError(f"a score of {len(value)} bytes: the hashes differ")
        out.append(value)

    def unpack(self, body: memoryview, at: int, context: Context) -> tuple[Score, int]:
        end = end_of(body, at, context.family.size)
        return Score(bytes(body[at:end])), end


KIND: Final = UInt(1, Kind)
COUNT: Final = Count()
BLOB: Final = Counted(4, BLOCK_SIZE_MAX, view=True)
SCORE: Final = ScoreField()
