"""`fossil-log`: the trees before a tree, newest first."""

import argparse
import os
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json
from lib9.sizes import format_count
from lib9.telling import printable

if TYPE_CHECKING:
    from fossil_fs.snapshot import Snapshot
    from venti_store.interfaces import BlockStore
    from venti_store.score import Score

HISTORY_MAX = 1 << 20  # roots followed


def parser() -> Parser:
    """Return the argument parser of fossil-log."""
    from fossil_fs.cli.common import add_store_option

    p = Parser(
        "fossil-log",
        description=(
            "List a tree and those before it, newest first: score, time, files and bytes in it. The\n"
            "time is when it got a name here, else when a mount was saved, else that of its root\n"
            "directory. A history may begin in another store: then the last line names the root that is\n"
            "not here."
        ),
    )
    p.add_argument("tree", metavar="TREE", help="a score or a name")
    p.add_argument("-n", "--number", type=int, metavar="N", help="at most this many")
    p.add_argument("-q", "--quick", action="store_true", help="no sizes: reads the roots only")
    p.add_argument(
        "--json",
        action="store_true",
        help="one object a line: score time files size name; or missing",
    )
    add_store_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> None:
    """Follow `prev` from root to root."""
    from fossil_fs.cli.common import family_of, resolve, store_address, with_store

    score = resolve(args.tree, store_address(args))

    async def run(store: "BlockStore") -> None:
        await _follow(args, store, score)

    with_store(store_address(args), run, family_of([score]))


async def _follow(args: argparse.Namespace, store: "BlockStore", newest: "Score") -> None:
    from fossil_fs.cli.common import named_times, store_address
    from fossil_fs.snapshot import open_snapshot
    from fossil_fs.usage import UsageCounter
    from venti_store.errors import NoSuchBlock

    times, counter = named_times(store_address(args)), UsageCounter()
    score: Score | None = newest
    limit = HISTORY_MAX if args.number is None else args.number
    while score is not None and limit > 0:
        try:
            snapshot = await open_snapshot(store, score)
        except NoSuchBlock:
            if score == newest:
                raise
            _print_missing(score, as_json=args.json)
            return
        usage = None
        if not args.quick:
            usage = await counter.count(snapshot.root, snapshot.directory())
        _print(snapshot, times.get(score), usage, as_json=args.json)
        score, limit = snapshot.prev, limit - 1


def _print_missing(score: "Score", *, as_json: bool) -> None:
    from venti_store.score import format_score

    if as_json:
        print_json({"missing": format_score(score)})
    else:
        print(f"{format_score(score)} earlier root not here")


def _print(
    snapshot: "Snapshot", named: int | None, usage: tuple[int, int] | None, *, as_json: bool
) -> None:
    from fossil_fs.cli.listing import minute
    from venti_store.score import format_score

    score = format_score(snapshot.score)
    saved = (snapshot.saved_ns or snapshot.root.mtime_ns) // 1_000_000_000
    seconds = named if named is not None else saved
    if as_json:
        value: dict[str, object] = {"score": score, "name": os.fsdecode(snapshot.name)}
        if seconds:
            value["time"] = seconds
        if usage is not None:
            value |= {"files": usage[0], "size": usage[1]}
        print_json(value)
        return
    words = [score, minute(seconds * 1_000_000_000) if seconds else "-"]
    if usage is not None:
        words += [
            format_count(count, noun, commas=False)
            for count, noun in zip(usage, ("file", "byte"), strict=True)
        ]
    words.append(printable(os.fsdecode(snapshot.name)))
    print(*filter(None, words))


run = entry(parser, main)
