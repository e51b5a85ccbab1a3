"""`fossil-cat`: a file's bytes, without mounting the tree."""

import argparse
import stat
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry
from lib9.errors import UsageError

if TYPE_CHECKING:
    from fossil_fs.snapshot import Snapshot

_PIECE = 4 << 20  # bytes read and written at once


def parser() -> Parser:
    """Return the argument parser of fossil-cat."""
    from fossil_fs.cli.common import add_store_option

    p = Parser(
        "fossil-cat",
        description="Write files of trees to stdout, one after the other. Links are not followed.",
    )
    p.add_argument(
        "files",
        metavar="TREE:PATH",
        nargs="+",
        help="a score or a name, and a file's path in the tree",
    )
    add_store_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> None:
    """Write each file in turn."""
    from fossil_fs.cli.common import parse_place, store_address, with_trees
    from fossil_fs.find import find
    from venti_store.hashtree.read import read

    address = store_address(args)
    places = [parse_place(text, address) for text in args.files]

    async def run(snapshots: "list[Snapshot]") -> None:
        for place, snapshot in zip(places, snapshots, strict=True):
            node, _ = await find(snapshot, place.path)
            if not stat.S_ISREG(node.mode):
                raise UsageError(f"{place.text}: not a file")
            for offset in range(0, node.size, _PIECE):
                assert node.content is not None
                sys.stdout.buffer.write(await read(snapshot.store, node.content, offset, _PIECE))

    with_trees(args, places, run)


run = entry(parser, main)
