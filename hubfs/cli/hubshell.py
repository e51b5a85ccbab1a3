"""hubshell: attach to a shell whose descriptors are hubs."""

import argparse
import os

from hubfs.shell.commands import COMMANDS
from lib9.cli import Parser, entry, table
from lib9.places import run_directory


def parser() -> Parser:
    p = Parser(
        "hubshell",
        description="Attach to a shell on hubs: type to it and see what it says; several people may.\n"
        "Lines beginning with % are for hubshell itself; on a shell with a terminal,\n"
        "Ctrl-] asks for one such line:\n\n" + table(COMMANDS),
    )
    add_names(p)
    return p.house_options()


def add_names(p: Parser) -> None:
    """Add the two names that hub and hubshell take."""
    p.add_argument(
        "mount",
        nargs="?",
        default="hubfs",
        metavar="NAME",
        help="the hub mount's name, or the path of its mount point (hubfs)",
    )
    p.add_argument("shell", nargs="?", default="io", metavar="SHELL", help="the shell's name (io)")


def main(args: argparse.Namespace) -> None:
    from hubfs.shell.attach import attach
    from hubfs.shell.places import existing_mount

    attach(existing_mount(args.mount, run_directory(os.environ)), args.shell)


run = entry(parser, main)
