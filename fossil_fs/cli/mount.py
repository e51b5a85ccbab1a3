"""`fossil-mount`: a tree becomes a file system that can be written."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry

if TYPE_CHECKING:
    from fossil_fs.ids import Shift
    from fossil_fs.mounting.options import Mounting
    from fossil_fs.scratch.place import Identity

DISK_SIZE = "1G"
RAM_SIZE = "100M"
ID_MAX = 0xFFFFFFFE  # the number after it means none


def parser() -> Parser:
    """Return the argument parser of fossil-mount."""
    from fossil_fs.cli.common import add_store_option

    p = Parser(
        "fossil-mount",
        description=(
            "Mount the tree that a score or a name means. It can be read and written at once; what is\n"
            "changed goes to a scratch, which outlives umount, crashes and (on disk) reboots, until\n"
            "fossil-save makes a new score of it. Returns when the mount can be used."
        ),
    )
    p.add_argument("tree", metavar="SCORE|NAME", help="the tree to mount")
    p.add_argument("mnt", metavar="MNT", help="an empty directory; a dead mount there is removed")
    add_scratch_options(p)
    add_mount_options(p)
    add_store_option(p)
    return p.house_options()


def add_scratch_options(p: argparse.ArgumentParser) -> None:
    """Add the options that say where changes go."""
    where = p.add_mutually_exclusive_group()
    where.add_argument("--ram", action="store_true", help="keep changes in memory (a tmpfs)")
    where.add_argument("--disk", metavar="DIR", help="keep changes in DIR, which must not exist")
    p.add_argument(
        "--size",
        metavar="SIZE",
        help=f"never take more for changes (default {DISK_SIZE}; with --ram {RAM_SIZE})",
    )


def add_mount_options(p: argparse.ArgumentParser) -> None:
    """Add the options of every command that mounts."""
    p.add_argument("--ro", action="store_true", help="read only")
    p.add_argument("-f", "--foreground", action="store_true", help="stay, and log to stderr")
    p.add_argument("--allow-other", action="store_true", help="let other users in (by modes)")
    p.add_argument(
        "--guests",
        action="store_true",
        help="the root of programs that are not trusted: all users, ids can be mapped, no set-id, no devices",
    )
    p.add_argument(
        "--id-shift",
        metavar="BASE:COUNT",
        help="ids below COUNT are seen from BASE on, others as nobody; what is stored is not shifted",
    )
    p.add_argument(
        "--writeback",
        action="store_true",
        help="let the kernel hold small writes back: streams of them are far faster, no space is told late",
    )
    p.add_argument(
        "--fault-seconds",
        type=_seconds,
        metavar="N",
        help="a read of a store far away fails (EIO) after so long, and may be tried again (default 60)",
    )
    p.add_argument(
        "--ctl-dir",
        metavar="NAME",
        default=".fossilfs",
        help="name of the control directory in the mount's root (default %(default)s; none: without)",
    )


def main(args: argparse.Namespace) -> int:
    """Make a scratch and mount on it."""
    from fossil_fs.cli.common import family_of, resolve, store_address
    from fossil_fs.mounting.places import disk_folder, new_place, ram_folder
    from fossil_fs.mounting.start import check_root
    from fossil_fs.scratch.budget import SIZE_MIN
    from fossil_fs.scratch.place import Identity, create_place, new_id, remove_tree
    from lib9.errors import UsageError
    from lib9.sizes import format_size, parse_size
    from venti_store.open import is_local
    from venti_store.score import format_score

    address = store_address(args)
    score = resolve(args.tree, address)
    prepare_point(args.mnt, "fossil-mount")
    if args.foreground and not (args.verbose or args.debug):
        from lib9 import log

        log.configure("fossil-mount", verbosity=0)
    size = parse_size(args.size or (RAM_SIZE if args.ram else DISK_SIZE))
    if size < SIZE_MIN:
        raise UsageError(f"--size {args.size}: at least {format_size(SIZE_MIN)}")
    in_memory = args.ram or args.ro
    identity = Identity(
        id=new_id(),
        base=format_score(score),
        store=os.path.abspath(address) if is_local(address) else address,
        family=family_of([score]).name,
        size=size,
        ram=in_memory,
    )
    if args.disk:
        place = os.fsencode(os.path.abspath(args.disk))
    else:
        folder = ram_folder(os.environ) if in_memory else disk_folder(os.environ)
        place = new_place(folder, identity.id)
    if is_local(address):
        check_root(identity.store, score)
    create_place(place, identity)
    try:
        wanted = mounting(args, identity.id, place)
        start_here(wanted, identity, foreground=args.foreground, wait=not is_local(address))
    except BaseException:
        if not args.foreground:
            remove_tree(place)  # nobody has written to it
        raise
    return 0


def prepare_point(mnt: str, program: str) -> None:
    """Check the mount point, and say so if a dead mount was in the way."""
    from lib9.fuse.points import make_ready

    if make_ready(os.fsencode(mnt)):
        sys.stderr.write(f"{program}: {mnt}: removed a dead mount\n")


def mounting(args: argparse.Namespace, mount_id: str, place: bytes) -> "Mounting":
    """Return what the options of a mounting command say."""
    from fossil_fs.mounting.options import Mounting

    return Mounting(
        id=mount_id,
        mnt=os.path.abspath(os.fsencode(args.mnt)),
        scratch=place,
        read_only=args.ro,
        allow_other=args.allow_other,
        writeback=args.writeback,
        control=control_name(args.ctl_dir),
        guests=args.guests,
        id_shift=_id_shift(args.id_shift),
        fault_seconds=args.fault_seconds,
    )


def _seconds(text: str) -> float:
    """Return a number of seconds above 0; argparse.ArgumentTypeError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text}: seconds are a number above 0, at most a day")
    return seconds


def control_name(text: str) -> bytes:
    """Return the name of the control directory, b"" for none; UsageError if it cannot be one."""
    from lib9.errors import UsageError

    name = os.fsencode(text)
    if text == "none":
        return b""
    if not name or b"/" in name or name in (b".", b"..") or len(name) > 255:
        raise UsageError(f"--ctl-dir {text}: not a name")
    return name


def _id_shift(text: str | None) -> "Shift | None":
    """Return what --id-shift says; UsageError."""
    from fossil_fs.ids import Shift
    from lib9.errors import UsageError

    if text is None:
        return None
    base, _, count = text.partition(":")
    if not (base.isdigit() and count.isdigit() and 0 < int(count) <= ID_MAX - int(base)):
        raise UsageError(f"--id-shift {text}: two numbers, BASE:COUNT")
    return Shift(int(base), int(count))


def start_here(wanted: "Mounting", identity: "Identity", *, foreground: bool, wait: bool) -> None:
    """Mount, with the record and the log of it in this user's run directory."""
    from fossil_fs.mounting.registry import Registry
    from fossil_fs.mounting.start import start_mount
    from lib9.faults import VARIABLE
    from lib9.fuse.options import ENGINE_VARIABLE, STOCK
    from lib9.places import run_directory

    registry = Registry(run_directory(os.environ))
    start_mount(
        wanted,
        identity,
        registry,
        foreground=foreground,
        wait=wait,
        kill_at=os.environ.get(VARIABLE, ""),
        stock=os.environ.get(ENGINE_VARIABLE) == STOCK,
    )


run = entry(parser, main, logs=False)
