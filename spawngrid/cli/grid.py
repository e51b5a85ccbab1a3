"""`grid`: one script, and modules for its words. A module has `add(words)`, which sets `run`."""

import argparse
import importlib
import sys
from functools import partial
from typing import Final

from lib9.cli import Parser, entry

COMMANDS: Final = {  # module of spawngrid.cli → its words
    "ask": (
        "scores", "share", "unshare", "log", "diff", "spawn", "spawndisk", "save", "savedisk",
        "invite", "uninvite", "boom", "kill", "status", "nodes", "whoami",
    ),
    "enter": ("attach", "run", "console", "ps"),
    "join": ("join",),
    "node": ("node",),
    "user": ("user",),
    "names": ("names",),
    "root": ("root",),
    "key": ("key",),
    "doctor": ("doctor",),
}  # fmt: skip


def parser(word: str = "") -> Parser:
    """Return the parser of grid and of all its words; of one word alone, when it is one.

    A module that is not needed is not imported: a command in an environment is over in less time
    than it takes to import them all.
    """
    p = Parser(
        "grid",
        description="Environments on demand from any stored root: spawn, work, save, share; and the\n"
        "nodes, users, names and keys of a grid.",
    )
    p.house_options()
    words = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    needed = [module for module, has in COMMANDS.items() if word in has]
    for module in needed or COMMANDS:
        importlib.import_module(f"spawngrid.cli.{module}").add(words)
    return p


def main(args: argparse.Namespace) -> int | None:
    """Run the word that was given."""
    status: int | None = args.run(args)
    return status


def run() -> int:
    """Run grid."""
    word = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return entry(partial(parser, word), main)()


if __name__ == "__main__":
    raise SystemExit(run())
