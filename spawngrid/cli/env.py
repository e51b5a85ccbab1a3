"""`grid node env`: the environments of this cpu node, by hand or by a script that stands in for cpusvc."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser

if TYPE_CHECKING:
    from spawngrid.cpusvc.work import Worker


def add(words: argparse._SubParsersAction[Parser]) -> None:
    from spawngrid.cli.node import add_config_option

    p = words.add_parser(
        "env",
        help="the environments of this cpu node, for scripts",
        description="What cpusvc does with the environments of this node, one step at a time. Each step\n"
        "prints the line of cpu.out that says what came of it. Done again, it has the same end.",
    )
    what = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for word, run, text in (
        ("do", do, "Do what a line of cpu.in says, given as words, and print the answer."),
        ("here", here, "Print the line that says what this node is and runs."),
        ("mend", mend, "Bring into order what a killed service left behind."),
    ):
        each = what.add_parser(word, help=text[0].lower() + text[1:-1], description=text)
        add_config_option(each)
        each.set_defaults(run=run)
        if word == "do":
            each.add_argument("words", nargs="+", metavar="WORD", help="the words of the line")


def _worker(args: argparse.Namespace) -> Worker:
    import os

    from spawngrid.cli.node import node_of
    from spawngrid.cpusvc.work import Worker
    from spawngrid.node.environments import open_environments

    config = node_of(args)
    os.environ.update(config.environ(dict(os.environ)))
    os.environ.pop("NOTIFY_SOCKET", None)  # what is started here is no service of the manager
    return Worker(config, open_environments(config))


def do(args: argparse.Namespace) -> None:
    from lib9.errors import UsageError
    from spawngrid.hubtexts.to_cpu import Who, parse

    asked = parse(" ".join(args.words))
    if isinstance(asked, Who):
        raise UsageError("who: grid node env here says it")
    sys.stdout.write(f"{_worker(args).answer(asked)}\n")


def here(args: argparse.Namespace) -> None:
    from lib9 import keys
    from spawngrid.cli.node import node_of
    from spawngrid.cpusvc.dispatch import Dispatcher
    from spawngrid.cpusvc.work import memory_bytes

    config = node_of(args)
    key = keys.format_key(keys.load(config.key_file).public)
    dispatcher = Dispatcher(config.name, config.dial, key, _worker(args).states())
    sys.stdout.write(f"{dispatcher.here(*memory_bytes())}\n")


def mend(args: argparse.Namespace) -> None:
    for environment, state in _worker(args).mend().items():
        sys.stdout.write(f"{environment} {state}\n")
