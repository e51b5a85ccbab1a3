"""`fossil-mount`: a tree becomes a file system that can be written."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry

if TYPE_CHECKING:
    from fossil_fs.mounting.options import Mounting
    from fossil_fs.mounting.registry import Running
    from fossil_fs.scratch.place import Identity
    from lib9.fuse.attach import Attached
    from venti_store.score import Score

DISK_SIZE = "1G"
RAM_SIZE = "100M"
START_SECONDS_MAX = 30.0  # for a daemon whose start may fail: a far store, a scratch to resume


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
        "--writeback",
        action="store_true",
        help="let the kernel hold small writes back: streams of them are far faster, new files slower",
    )


def main(args: argparse.Namespace) -> int:
    """Make a scratch and mount on it."""
    from fossil_fs.cli.common import family_of, resolve, store_address
    from fossil_fs.mounting.places import disk_folder, new_place, ram_folder
    from fossil_fs.scratch.budget import SIZE_MIN
    from fossil_fs.scratch.place import Identity, create_place, new_id, remove_tree
    from lib9.errors import UsageError
    from lib9.sizes import format_size, parse_size
    from venti_store.open import is_local
    from venti_store.score import format_score

    score = resolve(args.tree)
    prepare_point(args.mnt)
    if args.foreground and not (args.verbose or args.debug):
        from lib9 import log

        log.configure("fossil-mount", verbosity=0)
    size = parse_size(args.size or (RAM_SIZE if args.ram else DISK_SIZE))
    if size < SIZE_MIN:
        raise UsageError(f"--size {args.size}: at least {format_size(SIZE_MIN)}")
    address = store_address(args)
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
        mount(wanted, identity, foreground=args.foreground, wait=not is_local(address))
    except BaseException:
        if not args.foreground:
            remove_tree(place)  # nobody has written to it
        raise
    return 0


def check_root(path: str, score: "Score") -> None:
    """Make sure that a store on this machine has the root; NoSuchBlock, or what opening it raises."""
    from venti_store.errors import NoSuchBlock
    from venti_store.interfaces import Key
    from venti_store.kind import Kind
    from venti_store.score import FAMILY_OF_SIZE, format_score
    from venti_store.stores.lmdb.peek import holds

    if not holds(path, FAMILY_OF_SIZE[len(score)], Key(score, Kind.ROOT)):
        raise NoSuchBlock(f"{format_score(score)}: no root of this score in {path}")


def prepare_point(mnt: str) -> None:
    """Check the mount point, and say so if a dead mount was in the way."""
    from fossil_fs.mounting.point import make_ready

    if make_ready(os.fsencode(mnt)):
        sys.stderr.write(f"fossil-mount: {mnt}: removed a dead mount\n")


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
    )


def mount(wanted: "Mounting", identity: "Identity", *, foreground: bool, wait: bool) -> None:
    """Mount and return when it can be used; in the foreground, when it is over.

    What is asked of the mount before its daemon has started waits in the kernel. With `wait` this
    waits too: for whatever may still go wrong.
    """
    from fossil_fs.mounting.options import HALTING, mount_options
    from fossil_fs.mounting.registry import Registry
    from lib9.fuse.attach import attach
    from lib9.fuse.first import mount_first
    from lib9.places import run_directory

    registry = Registry(run_directory(os.environ))
    registry.prepare()
    registry.clean()
    options = mount_options(wanted, identity)

    def serve(attached: "Attached", ready: Callable[[], None], prepare: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, HALTING)  # until the daemon listens to them
        registry.add(running_mount(wanted, identity, attached))
        if not wait:
            ready()  # what comes now takes longer than all before
        prepare()
        import trio

        from fossil_fs.mounting.daemon import run_mount
        from lib9 import faults

        if faults.VARIABLE in os.environ:
            faults.arm_kill(os.environ[faults.VARIABLE])
        try:
            trio.run(run_mount, wanted, registry, lambda _served: ready(), attached)
        finally:
            registry.remove(wanted.id)

    if foreground:
        serve(attach(wanted.mnt, options), lambda: None, lambda: None)
        return
    log = registry.path(wanted.id, "log")

    def log_to_file() -> None:
        from fossil_fs.mounting.logfile import log_to

        log_to(log, "fossil-mount")
        os.chdir("/")

    def serve_and_log(attached: "Attached", ready: Callable[[], None]) -> None:
        try:
            serve(attached, ready, log_to_file)
        finally:
            from fossil_fs.mounting.logfile import remove_if_empty

            remove_if_empty(log)

    mount_first(
        wanted.mnt, options, serve_and_log, log=os.fsencode(log), grace_seconds=START_SECONDS_MAX
    )


def running_mount(wanted: "Mounting", identity: "Identity", attached: "Attached") -> "Running":
    """Return the record of the mount that this process serves."""
    from fossil_fs.mounting.registry import Running

    return Running(
        id=wanted.id,
        mnt=os.fsdecode(attached.point),
        pid=os.getpid(),
        minor=attached.minor,
        scratch=os.fsdecode(wanted.scratch),
        store=identity.store,
        score=identity.base,
    )


run = entry(parser, main, logs=False)
