"""`fossil-scratch`: what unmounted or crashed mounts left behind."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json
from lib9.telling import printable

if TYPE_CHECKING:
    from venti_store.interfaces import BlockStore
    from venti_store.score import Score

# umount(8) returns before the daemon has written what is left and let go of its scratch
RELEASE_SECONDS_MAX = 3.0


def parser() -> Parser:
    """Return the argument parser of fossil-scratch."""
    from fossil_fs.cli.mount import add_mount_options

    p = Parser(
        "fossil-scratch",
        description=(
            "Scratches hold what was changed in mounts and not saved. A scratch that no mount uses can\n"
            "be resumed, saved or removed. ID is a scratch's id, its first digits, or its directory."
        ),
    )
    actions = p.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="list scratches", description="List scratches.")
    ls.add_argument("--json", action="store_true", help="one object a line")
    resume = actions.add_parser("resume", help="mount again", description="Mount as it was left.")
    resume.add_argument("id", metavar="ID", help="which scratch")
    resume.add_argument("mnt", metavar="MNT", help="an empty directory")
    add_mount_options(resume)
    save = actions.add_parser(
        "save", help="make a score of it", description="Save without a mount."
    )
    save.add_argument("id", metavar="ID", help="which scratch")
    save.add_argument("name", metavar="NAME", nargs="?", help="let this name mean the new score")
    check = actions.add_parser(
        "check",
        help="look whether all in it agrees",
        description=(
            "Check a scratch that no mount uses: its records, its layers, and what of the base they\n"
            "stand on is in the store. What is wrong is named on stdout, a line each; exit status 5."
        ),
    )
    check.add_argument("id", metavar="ID", help="which scratch")
    check.add_argument("--blocks", action="store_true", help="every block of the base, too")
    rm = actions.add_parser("rm", help="remove one", description="Remove a scratch.")
    rm.add_argument("id", metavar="ID", help="which scratch")
    rm.add_argument("--discard", action="store_true", help="even with unsaved changes or snapshots")
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Do one of the actions."""
    actions = {"ls": _list, "resume": _resume, "save": _save, "check": _check, "rm": _remove}
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from fossil_fs.mounting.places import scratches
    from fossil_fs.mounting.registry import Registry, is_alive
    from fossil_fs.scratch.errors import ScratchError
    from lib9.errors import Exit
    from lib9.places import run_directory

    status = Exit.OK
    mounted = {r.scratch: r for r in Registry(run_directory(os.environ)).all() if is_alive(r.pid)}
    for path, identity in scratches(os.environ):
        where = os.fsdecode(path)
        if isinstance(identity, ScratchError):
            sys.stderr.write(f"fossil-scratch: {printable(str(identity))}\n")
            status = Exit.PARTIAL
            continue
        running = mounted.get(where)
        facts = {
            "id": identity.id,
            "score": identity.base,
            "store": identity.store,
            "place": "ram" if identity.ram else "disk",
            "size": identity.size,
            "used": _used(where),
            "directory": where,
            "mnt": running.mnt if running else None,
        }
        if args.json:
            print_json(facts)
        else:
            print(_line(facts))
    return status


def _line(facts: Mapping[str, object]) -> str:
    from lib9.sizes import format_size

    used, size = (format_size(int(str(facts[word]))) for word in ("used", "size"))
    where = f"mounted at {facts['mnt']}" if facts["mnt"] else "not mounted"
    return f"{facts['id']}  {facts['place']:4}  {used} of {size}  {facts['score']}  {where}"


def _used(directory: str) -> int:
    return sum(
        os.lstat(os.path.join(where, name)).st_blocks * 512
        for where, _, names in os.walk(directory)
        for name in names
    )


def _unused(text: str) -> bytes:
    """Return the directory of the scratch that `text` means, once no process uses it; ScratchInUse."""
    import time

    from fossil_fs.mounting.places import find_scratch
    from fossil_fs.scratch.errors import ScratchInUse
    from fossil_fs.scratch.place import is_in_use

    place = find_scratch(os.environ, text)
    deadline = time.monotonic() + RELEASE_SECONDS_MAX
    while is_in_use(place):
        if time.monotonic() > deadline:
            raise ScratchInUse(f"{os.fsdecode(place)}: in use by another process")
        time.sleep(0.01)
    return place


def _resume(args: argparse.Namespace) -> int:
    from fossil_fs.cli.mount import mounting, prepare_point, start_here
    from fossil_fs.scratch.place import read_identity

    place = _unused(args.id)
    prepare_point(args.mnt, "fossil-scratch")
    identity = read_identity(place)
    start_here(mounting(args, identity.id, place), identity, foreground=args.foreground, wait=True)
    return 0


def _save(args: argparse.Namespace) -> int:
    from fossil_fs.cli.save import print_saved
    from fossil_fs.scratch.place import remove_tree
    from fossil_fs.scratch.scratch import Scratch
    from venti_store.cli.address import with_store
    from venti_store.score import FAMILIES, format_score

    if args.name:
        from venti_store.names.words import check_name

        check_name(args.name)
    place = _unused(args.id)
    scratch = Scratch(place)

    async def save(store: "BlockStore") -> "Score":
        from fossil_fs.filesystem import open_filesystem

        return await (await open_filesystem(store, scratch)).saver.save()

    try:
        identity = scratch.identity
        score = with_store(identity.store, save, FAMILIES.get(identity.family))
    finally:
        clean = scratch.close_if_possible()
    print_saved(format_score(score), args.name, identity.store, identity.base)
    if clean:
        remove_tree(place)
    return 0


def _check(args: argparse.Namespace) -> int:
    from fossil_fs.mounting.errors import Found
    from fossil_fs.mounting.places import find_scratch
    from fossil_fs.scratch.scratch import Scratch
    from venti_store.cli.address import with_store
    from venti_store.score import FAMILIES

    scratch = Scratch(find_scratch(os.environ, args.id))

    async def check(store: "BlockStore") -> Sequence[str]:
        from fossil_fs.filesystem import open_filesystem
        from fossil_fs.mounting.checking import report
        from fossil_fs.overlay.check import Check

        overlay = (await open_filesystem(store, scratch)).overlay
        return (await report(Check(overlay, blocks=args.blocks))).lines

    identity = scratch.identity
    try:
        lines = with_store(identity.store, check, FAMILIES.get(identity.family))
    except Found as found:
        for line in found.lines:
            print(printable(line))
        raise
    finally:
        scratch.close_if_possible()
    for line in lines:
        print(line)
    return 0


def _remove(args: argparse.Namespace) -> int:
    from fossil_fs.mounting.unmount import Unsaved
    from fossil_fs.scratch.errors import ScratchDamaged
    from fossil_fs.scratch.place import lock_place, remove_tree
    from fossil_fs.scratch.scratch import Scratch

    place = _unused(args.id)
    if not args.discard:
        try:
            scratch = Scratch(place)
        except ScratchDamaged as error:
            raise Unsaved(f"{error}: --discard removes it all the same") from error
        clean, snapshots = scratch.is_clean, len(scratch.epochs)
        if not scratch.close_if_possible():
            what = f"snapshots in it ({snapshots}): --discard drops them"
            if not clean:
                what = "unsaved changes: save it, or --discard"
            raise Unsaved(f"{os.fsdecode(place)}: {what}")
    held = lock_place(place)
    try:
        remove_tree(place)
    finally:
        os.close(held)
    return 0


run = entry(parser, main)
