"""`grid join`: become known to a grid."""

import argparse
import sys

from lib9.cli import Parser, print_json


def add(words: "argparse._SubParsersAction[Parser]") -> None:
    p = words.add_parser(
        "join",
        help="join a grid, by a token",
        description="Become a user of a grid, by the token that its operator gave you. A key is made if\n"
        "you have none; the grid knows you by it from then on.",
    )
    p.add_argument("token", metavar="TOKEN", help="as grid user add printed it")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.set_defaults(run=join)


def join(args: argparse.Namespace) -> None:
    import os

    from lib9 import keys, places
    from spawngrid.client import grids
    from spawngrid.client.asking import enrol

    token = grids.parse_token(args.token)
    if not os.path.exists(places.config_file("key")):
        keys.create(places.config_file("key"))
    enrolled = enrol(token, grids.identity(), "")
    for record in enrolled.records:
        grids.remember(record)
    if args.json:
        print_json(
            {"user": enrolled.name, "grid": enrolled.records[0].split()[0].partition("=")[2]}
        )
    else:
        sys.stdout.write(f"you are {enrolled.name}\n")
