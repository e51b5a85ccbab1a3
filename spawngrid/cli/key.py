"""`grid key new|show`: the key that this user or node is known by."""

import argparse
import sys

from lib9.cli import Parser, print_json


def add(words: "argparse._SubParsersAction[Parser]") -> None:
    p = words.add_parser(
        "key",
        help="make or show our key",
        description="The key that this user or node is known by, and what others write down of it.",
    )
    what = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    new = what.add_parser(
        "new",
        help="make a key",
        description="Make a key, in a file that only its owner may touch, and print its public half.\n"
        "A key that is there already is left alone.",
    )
    show = what.add_parser(
        "show", help="print the public half of our key", description="Print the public half."
    )
    for each, run in ((new, make), (show, show_key)):
        each.add_argument(
            "--key", metavar="FILE", help="the key's file (default: $XDG_CONFIG_HOME/spawngrid/key)"
        )
        each.add_argument("--json", action="store_true", help="print one JSON object")
        each.set_defaults(run=run)


def make(args: argparse.Namespace) -> None:
    from lib9 import keys, places

    path = args.key or places.config_file("key")
    _print(args, keys.create(path).public, path)


def show_key(args: argparse.Namespace) -> None:
    from lib9 import keys, places

    path = args.key or places.config_file("key")
    _print(args, keys.load(path).public, path)


def _print(args: argparse.Namespace, public: bytes, path: str) -> None:
    from lib9.keys import format_key

    if args.json:
        print_json({"pubkey": format_key(public), "file": path})
    else:
        sys.stdout.write(f"{format_key(public)}\n")
