"""`venti`: one script, a module for each word. A module has `add(commands)` and `main(args)`."""

import argparse
import importlib
from typing import cast

from lib9.cli import Parser, entry
from venti_store.cli.address import Subcommands

COMMANDS = (
    "init",
    "read",
    "write",
    "copy",
    "stat",
    "check",
    "ls",
    "serve",
)  # modules of venti_store.cli


def parser() -> Parser:
    """Return the parser of venti and of all its words."""
    p = Parser("venti", description="Create, inspect and check stores of blocks, and serve them.")
    p.house_options()
    words = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for word in COMMANDS:
        module = importlib.import_module(f"venti_store.cli.{word}")
        command = module.add(cast(Subcommands, words))
        command.set_defaults(run=module.main)
    return p


def main(args: argparse.Namespace) -> int | None:
    """Run the word that was given."""
    status: int | None = args.run(args)
    return status


run = entry(parser, main)
