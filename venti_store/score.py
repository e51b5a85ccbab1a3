"""Scores: the hash of a block's bytes after zero truncation, and the block's only name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

from blake3 import blake3

from venti_store.errors import BadScore

Buffer = bytes | bytearray | memoryview
Score = NewType("Score", bytes)

_TEXT = re.compile(r"(?:vac:)?([0-9a-fA-F]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Family:
    """A hash family: `size` is the bytes in a score, `nothing` the score of no bytes at all."""

    name: str
    size: int
    digest: Callable[[Buffer], bytes]
    nothing: Score

    def score(self, data: Buffer) -> Score:
        """Return the score of `data`, which the caller has zero-truncated."""
        return Score(self.digest(data))

    def is_nothing(self, score: bytes) -> bool:
        """Tell whether `score` means "no block": the score of nothing, or all zero bytes."""
        return score == self.nothing or not any(score)

    def parse(self, text: str) -> Score:
        """Return the score that `text` spells: hex digits, optionally after `vac:`; else BadScore."""
        score = parse_score(text)
        if len(score) != self.size:
            raise BadScore(f"{text}: a {self.name} score has {2 * self.size} hex digits")
        return score


def _sha1(data: Buffer) -> bytes:
    import hashlib  # it brings OpenSSL, which most commands never need

    return hashlib.sha1(data, usedforsecurity=False).digest()


def _blake3(data: Buffer) -> bytes:
    return blake3(data).digest()


BLAKE3 = Family("blake3", 32, _blake3, Score(_blake3(b"")))
_SHA1_OF_NOTHING = Score(bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709"))
SHA1 = Family("sha1", 20, _sha1, _SHA1_OF_NOTHING)
FAMILIES = {family.name: family for family in (BLAKE3, SHA1)}
FAMILY_OF_SIZE = {family.size: family for family in (BLAKE3, SHA1)}


def parse_score(text: str) -> Score:
    """Return the score of either family that `text` spells; BadScore for anything else."""
    match = _TEXT.fullmatch(text.strip())
    if match is None or len(match[1]) not in (2 * BLAKE3.size, 2 * SHA1.size):
        raise BadScore(f"{text!r} is not a score (64 or 40 hex digits, `vac:` in front or not)")
    return Score(bytes.fromhex(match[1]))


def format_score(score: bytes) -> str:
    """Return the text of a score as people and files have it: `vac:` and hex digits."""
    return f"vac:{score.hex()}"
