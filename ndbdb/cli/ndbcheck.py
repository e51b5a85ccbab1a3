"""`ndbcheck`: say where a network database does not mean what it looks like."""

import argparse
import os

from lib9.cli import Parser, entry, print_json
from lib9.errors import Exit
from lib9.telling import printable
from ndbdb.database import Database
from ndbdb.seek import DEFAULT_FILE


def parser() -> Parser:
    """Return the argument parser of ndbcheck."""
    p = Parser(
        "ndbcheck",
        description=(
            "Check network database files, ndb(6), and the files that their database= record lists.\n"
            "Findings are printed as FILE:LINE: WHAT, and the exit status is 1 if there are any."
        ),
    )
    p.add_argument(
        "files", metavar="FILE", nargs="*", help=f"first file of a database ({DEFAULT_FILE})"
    )
    p.add_argument("--json", action="store_true", help="one object a line: file, line, what")
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Check each file once and print the findings."""
    from ndbdb.check import Problem, check
    from ndbdb.database import read_file

    findings: list[Problem] = []
    names: dict[str, None] = {}
    for first in args.files or [DEFAULT_FILE]:
        names |= dict.fromkeys(Database(first).files())
    for name in names:
        if os.path.exists(name):
            findings += check(read_file(name).decode(errors="surrogateescape"), name)
        else:
            findings.append(Problem(name, 0, "listed in a database= record, but not there"))
    for problem in findings:
        if args.json:
            print_json({"file": problem.file, "line": problem.line, "what": problem.what})
        else:
            print(printable(str(problem)))
    return Exit.FAILED if findings else Exit.OK


run = entry(parser, main)
