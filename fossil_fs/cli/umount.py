"""`fossil-umount`: unmount without losing anything by accident."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry
from lib9.errors import UsageError
from lib9.telling import printable

if TYPE_CHECKING:
    from fossil_fs.mounting.registry import Registry


def parser() -> Parser:
    """Return the argument parser of fossil-umount."""
    p = Parser(
        "fossil-umount",
        description=(
            "Unmount. Unsaved changes are refused with exit status 9, unless --save makes a score of\n"
            "them or --discard drops them. umount(8) works too: it keeps them in the scratch, for\n"
            "fossil-scratch. --force keeps them there as well, and asks nobody."
        ),
    )
    p.add_argument("mnt", metavar="MNT", help="where the tree is mounted")
    p.add_argument(
        "name", metavar="NAME", nargs="?", help="with --save: what the score is to be called"
    )
    what = p.add_mutually_exclusive_group()
    what.add_argument("--save", action="store_true", help="save first and print the score")
    what.add_argument("--discard", action="store_true", help="drop unsaved changes")
    what.add_argument(
        "--force",
        action="store_true",
        help="even if the daemon hangs or is gone; what waits for the mount fails, the scratch stays",
    )
    p.mixed = True  # --save NAME is what everybody types
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Save or check, unmount, and wait for the daemon's end."""
    from fossil_fs.cli.save import print_saved
    from fossil_fs.mounting.console import Console
    from fossil_fs.mounting.point import DeadMount, find_mount, sync_mount
    from fossil_fs.mounting.registry import Registry
    from fossil_fs.mounting.unmount import unmount
    from lib9.fuse.points import make_ready
    from lib9.places import run_directory

    point = os.fsencode(args.mnt)
    registry = Registry(run_directory(os.environ))
    if args.name is not None:
        if not args.save:
            raise UsageError(f"{args.name}: a name is given with --save only")
        from venti_store.names.words import check_name

        check_name(args.name)
    if args.force:
        return _force(args.mnt, registry)
    try:
        running = find_mount(registry, point)
    except DeadMount as dead:
        make_ready(point)
        registry.clean()
        sys.stderr.write(
            f"fossil-umount: {args.mnt}: removed a dead mount; its changes:"
            f" `fossil-scratch resume {dead.scratch} MNT`\n"
        )
        return 0
    console = Console(registry.path(running.id, "sock"))
    if not args.discard:
        sync_mount(point)
    if args.save:
        print_saved(console.ask("save")[1], args.name, running.store, running.score)
    kept = unmount(console, running, discard=args.discard)
    if kept:
        snapshots = f"{kept} snapshot{'s' if kept > 1 else ''}"
        sys.stderr.write(
            f"fossil-umount: {args.mnt}: {snapshots} kept in scratch {running.id} (fossil-scratch)\n"
        )
    return 0


def _force(mnt: str, registry: "Registry") -> int:
    from fossil_fs.mounting.point import fossil_mount_at
    from fossil_fs.mounting.unmount import unmount_by_force

    done = unmount_by_force(fossil_mount_at(os.fsencode(mnt)), registry)
    sys.stderr.write(f"fossil-umount: {printable(f'{mnt}: {done}')}\n")
    return 0


run = entry(parser, main)
