"""`venti init`: make an empty store."""

import argparse

from lib9.cli import Parser, print_json
from venti_store.cli.address import Subcommands
from venti_store.score import FAMILIES


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "init",
        help="make an empty store",
        description="Make an empty store in the directory PATH, which is made if it is missing.",
    )
    p.add_argument("path", metavar="PATH", help="directory of the store, on a local disk")
    p.add_argument(
        "--hash",
        choices=sorted(FAMILIES),
        default="blake3",
        help="the hash of its scores, for ever; sha1 is for Plan 9's programs (default: blake3)",
    )
    p.add_argument("--json", action="store_true", help="print path, hash and id as JSON")
    return p


def main(args: argparse.Namespace) -> None:
    from venti_store.stores.lmdb.environment import create

    store_id = create(args.path, FAMILIES[args.hash])
    if args.json:
        print_json({"path": args.path, "hash": args.hash, "id": store_id})
