"""`fossil-ls`: what a tree holds, without mounting it."""

import argparse
import os
import stat
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json

if TYPE_CHECKING:
    from fossil_fs.directory import Directory
    from fossil_fs.node import Node
    from fossil_fs.snapshot import Snapshot
    from venti_store.interfaces import BlockReader


def parser() -> Parser:
    """Return the argument parser of fossil-ls."""
    from fossil_fs.cli.common import add_store_option

    p = Parser(
        "fossil-ls",
        description=(
            "List a directory of a tree, or a file. Names ascend bytewise. Names that make no sense\n"
            "are left out and told on stderr, with exit status 3."
        ),
    )
    p.add_argument("tree", metavar="TREE[:PATH]", help="a score or a name, and a path in the tree")
    p.add_argument(
        "-l", "--long", action="store_true", help="mode, owner, group, size and time too"
    )
    p.add_argument("-R", "--recursive", action="store_true", help="everything below, by its path")
    p.add_argument(
        "--json",
        action="store_true",
        help="one object a line: path type mode uid gid owner group size mtime_ns qid nlink …",
    )
    add_store_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """List one place in a tree."""
    from fossil_fs.cli.common import Complaints, parse_place, store_address, with_trees
    from fossil_fs.find import find

    place = parse_place(args.tree, store_address(args))
    complaints = Complaints("fossil-ls")

    async def run(snapshots: "list[Snapshot]") -> None:
        [snapshot] = snapshots
        node, directory = await find(snapshot, place.path, report=complaints)
        if directory is None:
            await _print(args, snapshot.store, place.path.rstrip(b"/").rpartition(b"/")[2], node)
            return
        async for path, below in _below(directory, recursive=args.recursive):
            await _print(args, snapshot.store, path, below)

    with_trees(args, [place], run)
    return complaints.status


async def _below(directory: "Directory", *, recursive: bool) -> "AsyncIterator[tuple[bytes, Node]]":
    from fossil_fs.compare import walk

    if recursive:
        async for item in walk(directory):
            yield item
        return
    async for batch in directory.entries():
        for item in batch:
            yield item


async def _print(args: argparse.Namespace, store: "BlockReader", path: bytes, node: "Node") -> None:
    from fossil_fs.cli.common import put_line

    if not (args.long or args.json):
        put_line(path)
        return
    from fossil_fs.cli.listing import as_json, as_line
    from fossil_fs.content import read_target

    target = await read_target(store, node) if stat.S_ISLNK(node.mode) else None
    if args.json:
        print_json(as_json(os.fsdecode(path), node, target))
    else:
        put_line(as_line(path, node, target))


run = entry(parser, main)
