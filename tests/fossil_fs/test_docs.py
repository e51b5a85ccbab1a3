"""The pages on directories and roots say what the tables in the code say."""

import re
import struct
from pathlib import Path

import pytest

from fossil_fs import compare, content
from fossil_fs.directory import index, read
from fossil_fs.format import direntry, metablock, mode, section, xattrs

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "formats"


def record_rows() -> list[str]:
    rows = [
        "| bytes | field | versions | meaning |",
        "|---|---|---|---|",
        f"| 4 | magic | 7 8 9 | {direntry.MAGIC:#x} |",
        "| 2 | version | 7 8 9 | 7, 8 or 9 |",
    ]
    for field in direntry.FIELDS:
        string = field.code == direntry.STRING
        size = "string" if string else str(struct.calcsize(">" + field.code))
        versions = " ".join(map(str, field.versions))
        rows.append(
            f"| {size} | {field.name} | {versions} | {field.meaning} |".replace("|  |", "| |")
        )
    return rows


def header_rows() -> list[str]:
    return ["| bytes | field | meaning |", "|---|---|---|"] + [
        f"| {struct.calcsize('>' + field.code)} | {field.name} | {field.meaning} |"
        for field in metablock.HEADER
    ]


def mode_rows() -> list[str]:
    return ["| bit | name | meaning |", "|---|---|---|"] + [
        f"| {bit.number} | {bit.name} | {bit.meaning} |" for bit in mode.BITS
    ]


def tag_rows() -> list[str]:
    return ["| tag | field | bytes | meaning |", "|---|---|---|---|"] + [
        f"| {tag.number} | {tag.name} | {tag.parts} | {tag.meaning} |" for tag in section.TAGS
    ]


def bound_rows() -> list[str]:
    return [
        "| bound | value |",
        "|---|---|",
        f"| names of a directory without order | {index.NAMES_MAX} |",
        f"| blocks of a directory without order | {index.BLOCKS_MAX} |",
        f"| bad records reported, of one directory | {read.REPORTS_MAX} |",
        f"| bytes of extended attributes of a file | {xattrs.STREAM_MAX} |",
        f"| bytes of a symbolic link's target | {content.TARGET_MAX} |",
        f"| directories within each other | {compare.DEPTH_MAX} |",
    ]


@pytest.mark.parametrize(
    "table",
    [record_rows(), header_rows(), mode_rows(), tag_rows(), bound_rows()],
    ids=lambda t: t[0],
)
def test_the_page_has_this_table(table: list[str]) -> None:
    text = re.sub(r" +\|", " |", (PAGES / "directory.md").read_text())
    assert "\n".join(table) in text, "\n".join(["", *table])


def test_the_page_has_these_numbers() -> None:
    text = (PAGES / "directory.md").read_text()
    assert f"{xattrs.INLINE_MAX} bytes go to a stream" in " ".join(text.split())
    assert f"## Section {direntry.SECTION_EXTRA:#x}" in text
