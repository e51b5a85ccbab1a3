"""`venti check`: read every block of a store and say what is bad."""

import argparse
import sys
import time
from collections.abc import Callable

from lib9.cli import Parser, print_json
from lib9.errors import Exit, UsageError
from lib9.sizes import format_count, format_size, parse_size
from lib9.waiting import run_now
from venti_store.cli.address import Subcommands, add_store_option, local_store, with_store
from venti_store.errors import CorruptBlock, NoSuchBlock
from venti_store.interfaces import Block, BlockStore, Key
from venti_store.stores.lmdb.check import Damage, Progress, Scrub
from venti_store.stores.lmdb.store import LmdbStore
from venti_store.stores.messages import kind_name


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "check",
        help="read every block and say what is bad",
        description=(
            "Read the log in order and check every block against its score, that no number is\n"
            "missing, and that log and index agree. What is bad is named on stdout, a line each;\n"
            "exit status 5 if any block is lost or the index is wrong. Writers may go on meanwhile.\n"
            "With SCOREs: check instead that everything below these roots is here and good."
        ),
    )
    p.add_argument("scores", metavar="SCORE", nargs="*", help="check these trees, not the log")
    add_store_option(p)
    p.add_argument("--history", action="store_true", help="with SCORE: the roots before it, too")
    p.add_argument("--rebuild", action="store_true", help="set the index right from the log")
    p.add_argument(
        "--repair", metavar="FROM", help="fetch lost blocks from the store at this address"
    )
    p.add_argument("--rate", metavar="SIZE", help="read at most this much a second: 50M")
    p.add_argument("--json", action="store_true", help="one object a line for what is bad")
    return p


def main(args: argparse.Namespace) -> int:
    if args.scores:
        from venti_store.cli.checktrees import check_trees

        return check_trees(args)
    if args.history:
        raise UsageError("check: --history needs a SCORE")
    rate = parse_size(args.rate) if args.rate else 0
    store = local_store(args)
    try:
        scrub = Scrub(store.environment, rebuild=args.rebuild, after_batch=_after_batch(rate))
        damages = []
        for damage in scrub.run():
            _print(damage, as_json=args.json)
            damages.append(damage)
        mended = repair(store, damages, args.repair) if args.repair else 0
    finally:
        run_now(store.aclose())
    return _sum_up(scrub.progress, damages, mended, rebuilt=args.rebuild)


def repair(store: LmdbStore, damages: list[Damage], source: str) -> int:
    """Put lost blocks again as the store at `source` has them; return how many."""
    keys = list(dict.fromkeys(d.key for d in damages if d.lost and d.key))

    async def fetch(other: BlockStore) -> int:
        return sum([await _fetch(store, other, key) for key in keys])

    return with_store(source, fetch, store.family) if keys else 0


async def _fetch(store: LmdbStore, other: BlockStore, key: Key) -> bool:
    try:
        data = (await other.get_many([key]))[0]
    except (NoSuchBlock, CorruptBlock) as error:
        sys.stderr.write(f"venti: {error}\n")
        return False
    await store.put_many([Block(key.score, key.kind, data)])
    await store.sync()
    return True


def _after_batch(rate: int) -> Callable[[Progress], None]:
    """Return what is done after each batch: hold the rate, and show how far it is on a terminal."""
    began = time.monotonic()
    shown = sys.stderr.isatty()

    def after(progress: Progress) -> None:
        if rate:
            time.sleep(max(0.0, began + progress.size / rate - time.monotonic()))
        if shown:
            end = "\n" if progress.number >= progress.last_number else ""
            sys.stderr.write(
                f"\r{progress.number}/{progress.last_number} {format_size(progress.size)}  {end}"
            )

    return after


def _print(damage: Damage, *, as_json: bool) -> None:
    if not as_json:
        sys.stdout.write(f"{damage}\n")
        return
    named = bool(damage.score)
    print_json(
        {
            "number": damage.number,
            "type": kind_name(damage.kind) if named else None,
            "score": damage.score.hex() if named else None,
            "why": damage.why,
            "lost": damage.lost,
        }
    )


def _sum_up(progress: Progress, damages: list[Damage], repaired: int, *, rebuilt: bool) -> int:
    lost = sum(damage.lost for damage in damages) - repaired
    wrong = sum(not damage.lost for damage in damages)
    words = [format_count(progress.number, "entry", "entries"), format_size(progress.size)]
    if progress.replaced:
        several = "bad copies have a good one"
        words.append(format_count(progress.replaced, "bad copy has a good one", several))
    if repaired:
        words.append(f"{repaired} repaired")
    if progress.mended:
        words.append(f"{format_count(progress.mended, 'index entry', 'index entries')} set right")
    words.append(f"{lost} bad" if lost or wrong else "good")
    if wrong and not rebuilt:
        words.append(f"{wrong} wrong in the index (--rebuild)")
    sys.stderr.write(f"venti: {', '.join(words)}\n")
    return Exit.DAMAGED if lost > 0 or (wrong and not rebuilt) else Exit.OK
