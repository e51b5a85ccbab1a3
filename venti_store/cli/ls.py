"""`venti ls`: the log, entry by entry."""

import argparse
import sys

from lib9.cli import Parser, print_json
from lib9.waiting import run_now
from venti_store.cli.address import Subcommands, add_store_option, local_store
from venti_store.stores.messages import kind_name


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "ls",
        help="list the log",
        description="List the log in order: number, type, bytes, bytes stored, score. Blocks are not read.",
    )
    add_store_option(p)
    p.add_argument(
        "-n",
        "--from",
        dest="start",
        type=int,
        default=1,
        metavar="NUMBER",
        help="first entry (default: 1)",
    )
    p.add_argument("--json", action="store_true", help="one object a line")
    return p


def main(args: argparse.Namespace) -> None:
    store = local_store(args)
    try:
        for entry in store.entries(args.start):
            score, kind = entry.score.hex(), kind_name(entry.kind) if entry.score else "damaged"
            if args.json:
                print_json(
                    {
                        "number": entry.number,
                        "type": kind,
                        "size": entry.size,
                        "stored": entry.stored,
                        "score": score,
                    }
                )
            else:
                sys.stdout.write(f"{entry.number} {kind} {entry.size} {entry.stored} {score}\n")
    finally:
        run_now(store.aclose())
