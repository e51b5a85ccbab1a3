"""cpusvc: the dispatcher of a cpu node."""

import argparse

from lib9.cli import Parser, entry


def parser() -> Parser:
    from spawngrid.cli.node import add_config_option

    p = Parser(
        "cpusvc",
        description="Do what cpu.in says: start, save and end environments of this node, and say in\n"
        "cpu.out what came of it and what there is. Runs until SIGTERM; environments go on.\n"
        "Started by grid node start; a script may stand in for it.",
    )
    add_config_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> None:
    from lib9 import keys
    from spawngrid.cli.dispatcher import begin, tell_ready
    from spawngrid.cpusvc.service import Service
    from spawngrid.node.environments import open_environments

    config = begin(args, "cpusvc")
    key = keys.format_key(keys.load(config.key_file).public)
    service = Service(config, key, open_environments(config))
    tell_ready()
    service.run()


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
