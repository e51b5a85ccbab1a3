"""`fossil-save`: what a mount holds now becomes a score."""

import argparse
import os

from lib9.cli import Parser, entry


def parser() -> Parser:
    """Return the argument parser of fossil-save."""
    p = Parser(
        "fossil-save",
        description=(
            "Save a mount: every write that returned before is in the new tree, whose score is printed\n"
            "alone on stdout when it is on stable storage. Writers go on meanwhile. Nothing changed:\n"
            "the old score."
        ),
    )
    p.add_argument("mnt", metavar="MNT", help="where the tree is mounted")
    p.add_argument("name", metavar="NAME", nargs="?", help="let this name mean the new score")
    p.add_argument(
        "--wait-replicas",
        metavar="N",
        type=int,
        default=0,
        help="then wait until N peers have all of it, as this node's replicate daemon knows",
    )
    p.add_argument(
        "--wait",
        metavar="TIME",
        default="1m",
        help="how long to wait for them: after that the exit status is 10, the save stands "
        "(default: 1m)",
    )
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Ask the mount's daemon to save."""
    from fossil_fs.mounting.console import Console
    from fossil_fs.mounting.point import find_mount, sync_mount
    from fossil_fs.mounting.registry import Registry
    from lib9.places import run_directory
    from lib9.sizes import parse_duration

    wait_seconds = parse_duration(args.wait)
    if args.name:
        from venti_store.names.words import check_name

        check_name(args.name)
    registry = Registry(run_directory(os.environ))
    running = find_mount(registry, os.fsencode(args.mnt))
    sync_mount(os.fsencode(args.mnt))
    console = Console(registry.path(running.id, "sock"))
    score = console.ask("save")[1]
    print_saved(score, args.name, running.store, running.score)
    if args.wait_replicas > 0:
        from lib9.replicas import wait_replicas

        wait_replicas(os.environ, score, args.wait_replicas, wait_seconds)
    return 0


def print_saved(score: str, name: str | None, address: str, base: str) -> None:
    """Print a score that was saved in the store at `address` from `base`, and let `name` mean it."""
    import time

    try:
        if name:
            from fossil_fs.cli.common import names_here
            from venti_store.score import parse_score

            names = names_here(address)
            names.record(
                name, parse_score(score), time.time_ns() // 1000, whole=[parse_score(base)]
            )
    finally:
        print(score, flush=True)


run = entry(parser, main)
