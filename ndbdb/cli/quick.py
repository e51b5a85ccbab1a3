"""`ndbquery` for the usual question, a value in one file: answered before a parser of arguments is there.

Whatever is not quite plain, and whatever goes wrong, is left to `ndbdb.cli.ndbquery`, which prints
the same.
"""

from __future__ import annotations

import os
import sys

from ndbdb.grammar import nearest, place
from ndbdb.seek import DEFAULT_FILE, Lines, seek

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lib9.cli import Parser

Question = tuple[str, str, str, str | None, bool, bool]


def parser() -> Parser:
    """Return the argument parser of ndbquery."""
    from ndbdb.cli import ndbquery

    return ndbquery.parser()


def run() -> int:
    """Answer the question that the arguments ask."""
    question = plain(sys.argv[1:])
    found = None if question is None else answer(*question)
    if found is None:
        from ndbdb.cli import ndbquery

        return ndbquery.run()
    try:
        sys.stdout.buffer.write(found)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of stdout went away: nothing to tell, and nobody to tell it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        from lib9.cli import complain

        return complain("ndbquery", error)
    return 0


def plain(argv: list[str]) -> Question | None:
    """Return file, attribute, value, what to print, all, multiple; None if that takes a parser."""
    words = iter(argv)
    file, every, multiple = DEFAULT_FILE, False, False
    for word in words:
        if word in ("-f", "--file"):
            file = next(words, "-")
            if file.startswith("-"):
                return None
        elif word in ("-a", "--all"):
            every = True
        elif word in ("-m", "--multiple"):
            multiple = True
        else:
            rest = [word, *words]
            if len(rest) not in (2, 3) or any(other.startswith("-") for other in rest):
                return None
            return file, rest[0], rest[1], rest[2] if len(rest) == 3 else None, every, multiple
    return None


def answer(
    file: str, attr: str, value: str, wanted: str | None, every: bool, multiple: bool
) -> bytes | None:
    """Return what `ndbquery` prints; None if it takes more than a look into one file."""
    if wanted is None or every:
        records = seek(file, attr, value)
    else:
        records = seek(file, attr, value, lambda lines: bool(_all(lines, wanted)))
    if records is None:
        return None
    if wanted is None:
        printed = ["".join(f"{a}={v} " for line in lines for a, v in line) for lines in records]
    elif every:
        printed = [v for lines in records for v in _all(lines, wanted)]
    else:
        printed = _of_last(records, (attr, value), wanted, multiple=multiple)
    return "".join(f"{line}\n" for line in printed).encode(errors="surrogateescape")


def _of_last(
    records: list[Lines], pair: tuple[str, str], wanted: str, *, multiple: bool
) -> list[str]:
    """Return the values of the last record: of all others none has any."""
    lines = records[-1] if records else []
    at = place(lines, pair)
    value = None if at is None else nearest(lines, *at, wanted)
    if value is None:
        return []
    return _all(lines, wanted) if multiple else [value]


def _all(lines: Lines, wanted: str) -> list[str]:
    return [value for line in lines for attr, value in line if attr == wanted]
