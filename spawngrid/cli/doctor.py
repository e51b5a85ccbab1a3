"""`grid doctor`: what this machine lacks, and what was left behind."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, print_json

if TYPE_CHECKING:
    from spawngrid.node.health import Health


def add(words: argparse._SubParsersAction[Parser]) -> None:
    from spawngrid.cli.node import add_config_option

    p = words.add_parser(
        "doctor",
        help="what this machine lacks for environments, and what was left behind",
        description="Say what this machine lacks for environments, and what of them has no owner any\n"
        "more: mounts, cgroups, namespaces, processes, records. Exit status 1 if there is anything.",
    )
    add_config_option(p)
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from spawngrid.cli.node import config_file
    from spawngrid.node import health
    from spawngrid.settings.config import read_config

    file = config_file(args)
    config = read_config(file) if os.path.exists(file) else None
    found = health.look(config)
    if args.json:
        print_json(health.to_json(found))
    else:
        _print(found)
    return 0 if found.good else 1


def _print(found: Health) -> None:
    for finding in found.findings:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        sys.stdout.write(f"{finding.level:5} {finding.name}: {finding.fact}{remedy}\n")
    for service in found.down:
        sys.stdout.write(f"lacks {service}: does not run (grid node start)\n")
    for orphan in found.orphans:
        sys.stdout.write(f"left  {orphan.kind} {orphan.name}: {orphan.done}\n")
    if not found.orphans:
        sys.stdout.write("nothing was left behind\n")
