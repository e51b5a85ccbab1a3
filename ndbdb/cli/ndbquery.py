"""`ndbquery`: print the records of a network database that have an attribute and value."""

import argparse
import sys

from lib9.cli import Parser, entry, print_json
from ndbdb.database import Database
from ndbdb.query import Match, lookup
from ndbdb.seek import DEFAULT_FILE


def parser() -> Parser:
    """Return the argument parser of ndbquery."""
    p = Parser(
        "ndbquery",
        description=(
            "Search a network database, ndb(6), for records that have ATTR=VALUE.\n"
            "Without RATTR each record is printed on a line. With RATTR its value is printed: of the\n"
            "first record that has one, the value nearest to the match. Nothing found is no error."
        ),
    )
    p.add_argument("attr", metavar="ATTR", help="attribute to search for")
    p.add_argument("value", metavar="VALUE", help="its value, '' for an attribute without one")
    p.add_argument("rattr", metavar="RATTR", nargs="?", help="attribute whose value to print")
    p.add_argument("-f", "--file", default=DEFAULT_FILE, help=f"first file ({DEFAULT_FILE})")
    p.add_argument("-a", "--all", action="store_true", help="RATTR of every matching record")
    p.add_argument(
        "-m", "--multiple", action="store_true", help="every RATTR of the record, not the first"
    )
    p.add_argument(
        "--json",
        action="store_true",
        help="one object a line, with the file and line of the record",
    )
    return p.house_options()


def main(args: argparse.Namespace) -> None:
    """Search and print."""
    matches = Database(args.file).search(args.attr, args.value)
    if args.rattr is None:
        for match in matches:
            _print_record(match, as_json=args.json)
    elif args.all:
        for match in matches:
            _print_values(match, args.rattr, match.record.all(args.rattr), as_json=args.json)
    elif (found := lookup(matches, args.rattr)) is not None:
        match, nearest = found
        values = match.record.all(args.rattr) if args.multiple else [nearest]
        _print_values(match, args.rattr, values, as_json=args.json)


def _print_record(match: Match, *, as_json: bool) -> None:
    pairs = [(pair.attr, pair.value) for pair in match.record.pairs()]
    if as_json:
        print_json(_place(match) | {"pairs": pairs})
    else:
        _print("".join(f"{attr}={value} " for attr, value in pairs))


def _print_values(match: Match, attr: str, values: list[str], *, as_json: bool) -> None:
    for value in values:
        if as_json:
            print_json(_place(match) | {"attr": attr, "value": value})
        else:
            _print(value)


def _place(match: Match) -> dict[str, object]:
    return {"file": match.record.file, "line": match.record.lines[0].number}


def _print(line: str) -> None:
    sys.stdout.buffer.write(line.encode(errors="surrogateescape") + b"\n")


run = entry(parser, main)
