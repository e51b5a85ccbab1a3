"""stosvc: the dispatcher of a storage node."""

import argparse

from lib9.cli import Parser, entry


def parser() -> Parser:
    from spawngrid.cli.node import add_config_option

    p = Parser(
        "stosvc",
        description="Carry out what users ask: read what is queued when sto.in says that there is\n"
        "something, check what is whose, tell the cpu nodes in cpu.in, hear them in cpu.out. Runs\n"
        "until SIGTERM. Started by grid node start; a script may stand in for it.",
    )
    add_config_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> None:
    from spawngrid.cli.dispatcher import begin, tell_ready
    from spawngrid.stosvc.book import Book
    from spawngrid.stosvc.service import Service

    config = begin(args, "stosvc")
    service = Service(config, Book.open(config.store))
    tell_ready()
    service.run()


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
