"""hub: a shell on hubs, made if it is not there, and attached to."""

import argparse
import os
import sys

from hubfs.cli.hubshell import add_names
from lib9.cli import Parser, entry
from lib9.errors import Exit
from lib9.places import private_directory, run_directory


def parser() -> Parser:
    p = Parser(
        "hub",
        description="Attach to a shell whose input, output and errors are hubs. The hub mount and\n"
        "the shell are made first if they are not there; they go on when you leave,\n"
        "which is %detach, or on a shell with a terminal Ctrl-] and then detach.\n"
        "hubshell --help lists what else can be said.",
    )
    add_names(p)
    p.add_argument("-b", "--background", action="store_true", help="make the shell, do not attach")
    p.add_argument(
        "-t",
        "--trunc",
        action="store_true",
        help="a mount that is made gives new readers only what is new",
    )
    p.add_argument(
        "-p",
        "--terminal",
        action="store_true",
        help="a shell that is made has a terminal: full-screen programs work",
    )
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    from hubfs.shell.attach import attach, start_host
    from hubfs.shell.hubs import ShellHubs
    from hubfs.shell.places import is_hub_mount, place_of

    point = place_of(args.mount, run_directory(os.environ))
    hubs = ShellHubs(point, args.shell)
    if not is_hub_mount(point) and (status := _mount(point, args)):
        return status
    if hubs.exist() and not hubs.is_hosted():
        sys.stderr.write(f"{args.shell}: its host has died: made anew\n")
        hubs.remove()
    if not hubs.exist():
        start_host(point, args.shell, terminal=args.terminal)
    if not args.background:
        attach(point, args.shell)
    return Exit.OK


def _mount(point: str, args: argparse.Namespace) -> int:
    """Make a hub mount; return the exit status of hubfs, which has said what is wrong."""
    import subprocess
    from contextlib import suppress

    sys.stderr.write(f"creating hubfs {point}\n")
    if "/" not in args.mount:
        private_directory(run_directory(os.environ))
        with suppress(FileExistsError):  # a dead mount is there: hubfs cleans it
            os.makedirs(point)
    service = os.path.basename(point)
    command = [sys.executable, "-m", "hubfs.cli.hubfs", "-s", service]
    command += ["-t"] if args.trunc else []
    return subprocess.run([*command, "--", point], check=False).returncode


run = entry(parser, main)
