"""`venti read`: one block's bytes to stdout."""

import argparse
import sys

from lib9.cli import Parser
from venti_store.cli.address import Subcommands, add_store_option, store_address, with_store
from venti_store.cli.types import parse_type
from venti_store.interfaces import BlockStore, Key
from venti_store.kind import Kind
from venti_store.score import FAMILY_OF_SIZE, parse_score


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "read",
        help="write one block to stdout",
        description="Write the bytes of one block to stdout, as they are stored: zero-truncated.",
    )
    add_store_option(p)
    p.add_argument("-t", "--type", metavar="TYPE", help="its type (default: whichever is there)")
    p.add_argument("score", metavar="SCORE", help="its score")
    return p


def main(args: argparse.Namespace) -> None:
    score = parse_score(args.score)
    kinds = [parse_type(args.type)] if args.type else list(Kind)

    async def read(store: BlockStore) -> bytes:
        keys = [Key(score, kind) for kind in kinds]
        here = await store.have_many(keys)
        found = [key for key, is_here in zip(keys, here, strict=True) if is_here]
        return (await store.get_many(found[:1] or keys[-1:]))[0]

    data = with_store(store_address(args), read, FAMILY_OF_SIZE[len(score)])
    sys.stdout.buffer.write(data)
