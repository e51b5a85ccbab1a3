"""The page on hash trees says what the tables in the code say."""

import re
import struct
from pathlib import Path

import pytest

from venti_store.hashtree import layout, walk
from venti_store.hashtree.layout import ENTRY, FLAGS, LAYOUTS, ROOT, Field
from venti_store.kind import DEPTH_MAX, Kind, to_memory
from venti_store.score import BLAKE3, SHA1

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "formats" / "hashtree.md"


def rows(fields: tuple[Field, ...]) -> list[str]:
    lines = ["| SHA-1 | BLAKE3 | bytes | field | meaning |", "|---|---|---|---|---|"]
    at = [0, 0]
    for field in fields:
        sizes = [struct.calcsize(">" + field.code.format(score=f.size)) for f in (SHA1, BLAKE3)]
        size = str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]} or {sizes[1]}"
        lines.append(f"| {at[0]} | {at[1]} | {size} | {field.name} | {field.meaning} |")
        at = [a + s for a, s in zip(at, sizes, strict=True)]
    return [*lines, f"| {at[0]} | {at[1]} | | | end |"]


def flag_rows() -> list[str]:
    return ["| bits | meaning |", "|---|---|"] + [
        f"| {bits:#04x} | {meaning} |" for bits, meaning in FLAGS.items()
    ]


def limit_rows() -> list[str]:
    classic, native = LAYOUTS[SHA1.size], LAYOUTS[BLAKE3.size]
    return [
        "| limit | SHA-1 | BLAKE3 |",
        "|---|---|---|",
        f"| smallest block size | {layout.BLOCK_SIZE_MIN} | {layout.BLOCK_SIZE_MIN} |",
        f"| largest block size | {classic.block_size_max} | {native.block_size_max} |",
        f"| bytes in a stream | {layout.STREAM_SIZE_MAX} | {layout.STREAM_SIZE_MAX} |",
        f"| levels of pointer blocks | {DEPTH_MAX} | {DEPTH_MAX} |",
        f"| leaves of a stream | {classic.leaves_max} | {native.leaves_max} |",
    ]


def kind_rows() -> list[str]:
    return ["| type | in memory | block |", "|---|---|---|"] + [
        f"| {int(kind)} | {to_memory(kind)} | {kind.name.lower()} |" for kind in sorted(Kind)
    ]


def walk_rows() -> list[str]:
    return [
        "| bound | value |",
        "|---|---|",
        f"| blocks from a root down to a leaf | {walk.NESTING_MAX} |",
        f"| bytes of blocks that wait for others below them | {walk.HELD_SIZE_MAX} |",
        f"| blocks above leaves remembered as done | {walk.REMEMBERED_MAX} |",
        f"| leaves remembered as done | {walk.LEAVES_REMEMBERED_MAX} |",
        f"| blocks, bytes read at once | {walk.BATCH_MAX}, {walk.BATCH_SIZE} |",
        f"| roots in a history | {walk.HISTORY_MAX} |",
    ]


@pytest.mark.parametrize(
    "table", [rows(ENTRY), rows(ROOT), flag_rows(), limit_rows(), kind_rows(), walk_rows()]
)
def test_the_page_has_this_table(table: list[str]) -> None:
    text = re.sub(r" +\|", " |", PAGE.read_text())
    assert "\n".join(table) in text, "\n".join(["", *table])
