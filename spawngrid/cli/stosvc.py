"""stosvc: the dispatcher of a storage node."""

import argparse
import os

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
    from lib9 import faults, supervision
    from spawngrid.cli.node import node_of
    from spawngrid.node.processes import record_pid
    from spawngrid.stosvc.book import Book
    from spawngrid.stosvc.service import Service

    config = node_of(args)
    os.environ.update(config.environ(dict(os.environ)))
    if faults.VARIABLE in os.environ:
        faults.arm_kill(os.environ[faults.VARIABLE])
    record_pid(config, "stosvc", os.getpid())
    service = Service(config, Book.open(config.store))
    supervision.notify(os.environ, "READY=1")
    os.environ.pop("NOTIFY_SOCKET", None)  # what is started here is no service of the manager
    service.run()


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
