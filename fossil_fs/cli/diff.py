"""`fossil-diff`: what differs between two trees; equal parts are not even read."""

import argparse
import os
import stat
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json

if TYPE_CHECKING:
    from fossil_fs.compare import Difference
    from fossil_fs.node import Node
    from fossil_fs.snapshot import Snapshot


def parser() -> Parser:
    """Return the argument parser of fossil-diff."""
    from fossil_fs.cli.common import add_store_option

    p = Parser(
        "fossil-diff",
        description=(
            "List what differs between two trees or parts of them: + added, - removed, ~ changed, with\n"
            "sizes in bytes. Directories with the same score are not read, so that it takes\n"
            "the time of what differs."
        ),
    )
    p.add_argument("old", metavar="OLD[:PATH]", help="a score or a name, and a path in the tree")
    p.add_argument("new", metavar="NEW[:PATH]", help="the tree to compare it with")
    p.add_argument(
        "--json", action="store_true", help="one object a line: change path old_size new_size …"
    )
    add_store_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Compare two places."""
    from fossil_fs.cli.common import Complaints, parse_place, store_address, with_trees
    from fossil_fs.compare import Difference, compare
    from fossil_fs.find import find

    address = store_address(args)
    places = [parse_place(args.old, address), parse_place(args.new, address)]
    complaints = Complaints("fossil-diff")

    async def run(snapshots: "list[Snapshot]") -> None:
        found = [
            await find(snapshot, place.path, report=complaints)
            for place, snapshot in zip(places, snapshots, strict=True)
        ]
        (old, below_old), (new, below_new) = found
        if below_old is None and below_new is None:
            if old != new:
                _print(Difference(places[1].path, old, new), as_json=args.json)
            return
        skip_equal = snapshots[0].link_streams == snapshots[1].link_streams
        if skip_equal and (old.content, old.meta) == (new.content, new.meta):
            return
        async for difference in compare(below_old, below_new, skip_equal=skip_equal):
            _print(difference, as_json=args.json)

    with_trees(args, places, run)
    return complaints.status


def _print(difference: "Difference", *, as_json: bool) -> None:
    from fossil_fs.cli.common import put_line

    old, new = difference.old, difference.new
    change = "added" if old is None else "removed" if new is None else "changed"
    if as_json:
        value: dict[str, object] = {"change": change, "path": os.fsdecode(difference.path)}
        for side, node in (("old", old), ("new", new)):
            if node is not None:
                value |= {f"{side}_size": node.size, f"{side}_mode": node.mode}
        print_json(value)
        return
    sign = {"added": b"+", "removed": b"-", "changed": b"~"}[change]
    slash = (
        b"/" if any(node is not None and stat.S_ISDIR(node.mode) for node in (old, new)) else b""
    )
    put_line(b"%s %s%s %s" % (sign, difference.path, slash, _sizes(old, new).encode()))


def _sizes(old: "Node | None", new: "Node | None") -> str:
    if old is not None and new is not None:
        if old.size != new.size:
            return f"{old.size} -> {new.size}"
        return f"{new.size} content" if old.content != new.content else f"{new.size} attributes"
    node = new or old
    return str(node.size) if node is not None else ""


run = entry(parser, main)
