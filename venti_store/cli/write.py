"""`venti write`: one block from stdin; its score to stdout."""

import argparse
import sys

from lib9.cli import Parser
from venti_store.cli.address import Subcommands, add_store_option, store_address, with_store
from venti_store.cli.types import parse_type
from venti_store.errors import BlockTooLarge
from venti_store.interfaces import Block, BlockStore
from venti_store.kind import BLOCK_SIZE_MAX
from venti_store.score import Score


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "write",
        help="store stdin as one block and print its score",
        description="Store stdin as one block; print its score once it is on stable storage.",
    )
    add_store_option(p)
    p.add_argument("-t", "--type", metavar="TYPE", default="data", help="its type (default: data)")
    p.add_argument("-z", "--truncate", action="store_true", help="drop zero bytes at the end first")
    return p


def main(args: argparse.Namespace) -> None:
    kind = parse_type(args.type)
    data = sys.stdin.buffer.read(BLOCK_SIZE_MAX + 1)
    if len(data) > BLOCK_SIZE_MAX:
        raise BlockTooLarge(f"stdin: more than {BLOCK_SIZE_MAX} bytes")
    if args.truncate:
        data = data.rstrip(b"\0")

    async def write(store: BlockStore) -> Score:
        score = store.family.score(data)
        await store.put_many([Block(score, kind, data)])
        await store.sync()
        return score

    sys.stdout.write(with_store(store_address(args, create=True), write).hex() + "\n")
