"""`grid`: one script, a module for each word. A module has `add(commands)` and `main(args)`."""

import argparse
import importlib

from lib9.cli import Parser, entry

COMMANDS = (  # modules of spawngrid.cli
    "ask",
    "enter",
    "join",
    "node",
    "user",
    "names",
    "root",
    "book",
    "env",
    "key",
    "doctor",
)


def parser() -> Parser:
    """Return the parser of grid and of all its words."""
    p = Parser("grid", description="Keys, names of roots, and what is asked of the grid.")
    p.house_options()
    words = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for word in COMMANDS:
        importlib.import_module(f"spawngrid.cli.{word}").add(words)
    return p


def main(args: argparse.Namespace) -> int | None:
    """Run the word that was given."""
    status: int | None = args.run(args)
    return status


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
