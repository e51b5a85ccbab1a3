"""The page of the store's format says what the code's tables say."""

import struct
from dataclasses import fields
from pathlib import Path

from venti_store.codec import HEADER, HEADER_SIZE, NAME_SIZE_MAX
from venti_store.kind import Kind
from venti_store.stores.lmdb.append import Counts
from venti_store.stores.lmdb.environment import TABLES

PAGE = (Path(__file__).parents[2] / "docs/reference/formats/store.md").read_text()


def test_tables() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{name}` | {pairs} |" for name, pairs in TABLES.items()]


def test_header() -> None:
    rows = [
        f"| {struct.calcsize(field.code)} | {field.name} | {field.meaning} |" for field in HEADER
    ]
    assert "\n".join(rows) in PAGE
    assert f"header of {HEADER_SIZE} bytes" in PAGE
    assert f"up to {NAME_SIZE_MAX >> 10} KiB" in PAGE


def test_counts_and_kinds() -> None:
    lines = PAGE.splitlines()
    start = lines.index("| field | meaning |") + 2
    names = [line.split(" | ")[0].strip("| ") for line in lines[start : start + 5]]
    assert names == [field.name for field in fields(Counts)]
    assert (Kind.ROOT, Kind.DIRECTORY, Kind.POINTER1, Kind.POINTER7, Kind.DATA) == (1, 2, 3, 9, 13)
    assert "1 root, 2 directory, 3 to 9 pointer blocks of level 1 to 7, 13 data" in PAGE
