"""The texts of errors about one block, the same from every store."""

from venti_store.errors import CorruptBlock, NoSuchBlock
from venti_store.kind import Kind
from venti_store.score import format_score


def kind_name(kind: Kind | None) -> str:
    """Return the name of a block type as people see it: `data`, `pointer2`; None: `name`."""
    return "name" if kind is None else kind.name.lower()


def no_such_block(score: bytes, kind: Kind | None, place: str) -> NoSuchBlock:
    """Return the error for a block that `place` does not have."""
    return NoSuchBlock(f"{format_score(score)} ({kind_name(kind)}): not in {place}")


def corrupt_entry(number: int, place: str, why: object) -> CorruptBlock:
    """Return the error for a log entry that cannot even say whose it is."""
    return CorruptBlock(f"log number {number}: bad in {place}: {why}")


def corrupt_block(score: bytes, kind: Kind | None, place: str, why: object) -> CorruptBlock:
    """Return the error for a block whose bytes at `place` are bad."""
    return CorruptBlock(f"{format_score(score)} ({kind_name(kind)}): bad in {place}: {why}")
