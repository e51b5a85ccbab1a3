"""`unvac`: a score becomes a directory."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json
from lib9.errors import Exit, UsageError
from lib9.sizes import format_count

if TYPE_CHECKING:
    from fossil_fs.node import Node, Owners
    from fossil_fs.restore.report import Report
    from fossil_fs.snapshot import Snapshot
    from venti_store.interfaces import BlockReader, BlockStore


def parser() -> Parser:
    """Return the argument parser of unvac."""
    from fossil_fs.cli.common import add_store_option

    p = Parser(
        "unvac",
        description=(
            "Restore a tree, or some paths of it, into a directory, which is made if it is not there:\n"
            "files with their holes, hard links, owners, modes, times, extended attributes and ACLs,\n"
            "symlinks, devices, fifos and sockets. Nothing outside DIR is ever written, whoever made\n"
            "the tree. Files that are there already stay, unless --replace is given.\n"
            "\n"
            "What cannot be restored is told on stderr, and the exit status is 3. An ordinary user\n"
            "cannot give files to others; set-user-id bits are then left out."
        ),
    )
    p.add_argument("tree", metavar="SCORE|NAME", help="the tree: a score, or the name of one")
    p.add_argument("dir", metavar="DIR", nargs="?", help="where to; not given with -t")
    p.add_argument("paths", metavar="PATH", nargs="*", help="only these paths of the tree")
    p.add_argument("-t", "--list", action="store_true", help="list the tree, restore nothing")
    p.add_argument("--replace", action="store_true", help="replace files that are there already")
    p.add_argument(
        "--json", action="store_true", help="print an object with counts; -t: one a file"
    )
    add_store_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Restore or list what the command line names."""
    from fossil_fs.cli.common import family_of, resolve, store_address, with_store
    from fossil_fs.snapshot import open_snapshot

    if not args.list and args.dir is None:
        raise UsageError("no DIR to restore into (or -t to list)")
    score = resolve(args.tree, store_address(args))

    async def run(store: "BlockStore") -> int:
        snapshot = await open_snapshot(store, score, owners=_owners_here())
        return await (_list(args, snapshot) if args.list else _restore(args, snapshot))

    return with_store(store_address(args), run, family_of([score]))


async def _restore(args: argparse.Namespace, snapshot: "Snapshot") -> int:
    from fossil_fs.cli.common import put_line
    from fossil_fs.cli.progress import complain_of
    from fossil_fs.restore.report import Report
    from fossil_fs.restore.restore import restore

    report = Report(on_trouble=complain_of("unvac"))
    if args.verbose:
        complain = complain_of("unvac")
        report.on_loss = lambda path, what: complain(path, f"not restored: {what}")
        report.on_done = put_line
    await restore(
        snapshot,
        os.fsencode(args.dir),
        [os.fsencode(path) for path in args.paths],
        replace=args.replace,
        report=report,
    )
    for what, count in sorted(report.losses.items()):
        sys.stderr.write(f"unvac: {what}: not restored of {format_count(count, 'file')}\n")
    if args.json:
        _print_counts(report)
    return Exit.PARTIAL if report.troubles or report.losses else Exit.OK


def _print_counts(report: "Report") -> None:
    print_json(
        {
            "files": report.files,
            "directories": report.directories,
            "bytes": report.size,
            "troubles": report.troubles,
            "losses": report.losses,
        }
    )


async def _list(args: argparse.Namespace, snapshot: "Snapshot") -> int:
    from fossil_fs.cli.common import Complaints
    from fossil_fs.compare import walk
    from fossil_fs.find import find

    complaints = Complaints("unvac")
    paths = [os.fsencode(path) for path in (args.dir, *args.paths) if path is not None]
    for path in paths or [b""]:
        node, directory = await find(snapshot, path, report=complaints)
        clean = b"/".join(part for part in path.split(b"/") if part)
        if clean:
            await _list_one(args, snapshot.store, clean, node)
        if directory is not None:
            async for below, found in walk(directory):
                await _list_one(
                    args, snapshot.store, b"%b/%b" % (clean, below) if clean else below, found
                )
    return complaints.status


async def _list_one(
    args: argparse.Namespace, store: "BlockReader", path: bytes, node: "Node"
) -> None:
    from fossil_fs.cli.common import put_line
    from fossil_fs.cli.listing import as_json, as_line
    from fossil_fs.content import read_target

    if not (args.verbose or args.json):
        put_line(path)
        return
    target = await read_target(store, node) if node.is_symlink else None
    if args.json:
        print_json(as_json(os.fsdecode(path), node, target))
    else:
        put_line(as_line(path, node, target))


def _owners_here() -> "Owners":
    """Return the numbers that this machine's users and groups have, for classic archives."""
    import grp
    import pwd

    from fossil_fs.node import Owners

    return Owners(
        users={os.fsencode(user.pw_name): user.pw_uid for user in pwd.getpwall()},
        groups={os.fsencode(group.gr_name): group.gr_gid for group in grp.getgrall()},
    )


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
