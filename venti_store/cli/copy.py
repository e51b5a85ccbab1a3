"""`venti copy`: trees, or everything, from one store to another."""

import argparse
import sys
import time
from collections.abc import Callable

from lib9.cli import Parser, print_json
from lib9.errors import Exit, UsageError
from lib9.sizes import format_count, format_size
from venti_store.cli.address import Subcommands
from venti_store.copying import Copied
from venti_store.interfaces import BlockStore
from venti_store.score import Score

HOLES_SHOWN_MAX = 100  # lines on stderr; the rest is only counted
SHOW_SECONDS = 0.2  # between looks at the progress


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "copy",
        help="copy trees from one store to another",
        description=(
            "Copy the trees of the SCOREs from store SRC to store DST, which must have the same hash.\n"
            "Every block is checked against its score. What DST has is not sent again, so a copy that\n"
            "was interrupted is finished by running it again. Blocks that SRC cannot give are named on\n"
            "stderr, and the exit status is 3; the blocks above them are left out, so that DST has no\n"
            "tree with holes."
        ),
    )
    p.add_argument("source", metavar="SRC", help="address of the store to copy from")
    p.add_argument("destination", metavar="DST", help="address of the store to copy to")
    scores = p.add_argument("scores", metavar="SCORE", nargs="+", help="scores of roots to copy")

    class All(argparse.Action):
        """With --all no score is needed. (`*` would not take scores behind an option.)"""

        def __call__(self, parser: object, namespace: argparse.Namespace, *_: object) -> None:
            namespace.all = True
            scores.required = False

    p.add_argument(
        "--all",
        action=All,
        nargs=0,
        default=False,
        help="copy every block of SRC, in the order of its log; without SCORE",
    )
    p.add_argument(
        "--history",
        action="store_true",
        help="copy the roots before each root, too, with all below",
    )
    p.add_argument(
        "--full",
        action="store_true",
        help="look below blocks that DST has: for a DST that may have holes",
    )
    p.add_argument(
        "--above-holes",
        action="store_true",
        help="copy the blocks above missing ones, too: to save what is left of a tree",
    )
    p.add_argument("--json", action="store_true", help="print what was done as one object")
    return p


def main(args: argparse.Namespace) -> int:
    import trio

    if args.scores and args.all:
        raise UsageError("copy: name the scores to copy or say --all, not both")
    if args.all and (args.history or args.full or args.above_holes):
        raise UsageError(
            "copy: --all goes by the log: --history, --full, --above-holes do not apply"
        )
    copied = Copied(on_change=_progress())
    trio.run(_copy, args, copied)
    if args.json:
        print_json(
            {
                "blocks": copied.blocks,
                "bytes": copied.size,
                "known": copied.known,
                "holes": copied.holes,
            }
        )
    else:
        told = f"{format_count(copied.blocks, 'block')}, {format_size(copied.size)}"
        sys.stderr.write(
            f"venti: {told}" + (f", {copied.holes} missing\n" if copied.holes else "\n")
        )
    return Exit.PARTIAL if copied.holes else Exit.OK


async def _copy(args: argparse.Namespace, copied: Copied) -> None:
    from venti_store.open import open_store

    source = await open_store(args.source)
    try:
        destination = await open_store(args.destination)
        try:
            await _between(args, copied, source, destination)
        finally:
            await destination.aclose()
    finally:
        await source.aclose()


async def _between(
    args: argparse.Namespace, copied: Copied, source: BlockStore, destination: BlockStore
) -> None:
    from venti_store.copying import check_same_hash, copy_log, copy_trees

    check_same_hash(source, destination)

    def complain(error: Exception) -> None:
        if copied.holes <= HOLES_SHOWN_MAX:
            sys.stderr.write(f"venti: {error}\n")

    if args.all:
        await copy_log(source, destination, on_damage=complain, copied=copied)
        return
    scores: list[Score] = [source.family.parse(text) for text in args.scores]
    await copy_trees(
        source,
        destination,
        scores,
        with_history=args.history,
        full=args.full,
        above_holes=args.above_holes,
        on_hole=lambda _, error: complain(error),
        copied=copied,
    )


def _progress() -> Callable[[Copied], None]:
    """Return what shows how far it is, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda _: None
    shown = 0.0

    def show(copied: Copied) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= SHOW_SECONDS:
            shown = now
            sys.stderr.write(
                f"\r{format_count(copied.blocks, 'block')}, {format_size(copied.size)} \r"
            )

    return show
