"""`vac`: directories become a score."""

import argparse
import os
import sys
import time
from dataclasses import astuple
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json
from lib9.errors import Exit

if TYPE_CHECKING:
    from fossil_fs.ingest.archive import Outcome, Previous
    from fossil_fs.ingest.options import Options
    from fossil_fs.ingest.report import Report
    from venti_store.interfaces import BlockStore
    from venti_store.score import Family, Score
    from venti_store.stores.lmdb.append import Counts


def parser() -> Parser:
    """Return the argument parser of vac."""
    from fossil_fs.cli.common import add_store_option

    p = Parser(
        "vac",
        description=(
            "Archive directories in a store and print the score of the archive. The content of one\n"
            "directory is the root of the tree; several are entries of it, under their last names.\n"
            "\n"
            "Files that change while they are read, vanish or cannot be read are told on stderr, one\n"
            "a line; the rest is archived, and the exit status is 3. The score is the last line on\n"
            "stdout; it is printed when everything is on stable storage."
        ),
    )
    p.add_argument(
        "paths", metavar="DIR", nargs="+", help="what to archive; files may be named too"
    )
    p.add_argument(
        "-a",
        "--add-to",
        metavar="NAME",
        help="go on with NAME: only files that changed since its last archive are read, the new root "
        "follows the old one, and NAME then means the new one",
    )
    p.add_argument(
        "-b", "--block-size", metavar="SIZE", help="size of data blocks, 512 to 1M (default: 64K)"
    )
    p.add_argument(
        "--exclude",
        metavar="PATTERN",
        action="append",
        default=[],
        help="leave out names that match; with a slash, paths; with a slash at the end, directories",
    )
    p.add_argument(
        "-x", "--one-file-system", action="store_true", help="stay on the file systems of the DIRs"
    )
    p.add_argument(
        "-j",
        "--jobs",
        metavar="N",
        type=int,
        help="processes that read files; 0: read them one by one (default: one for each core)",
    )
    p.add_argument(
        "-q", "--quiet", action="store_true", help="no summary and no progress on stderr"
    )
    p.add_argument("--json", action="store_true", help="print one object with score and counts")
    add_store_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Archive what the command line names."""
    from fossil_fs.cli.common import store_address
    from fossil_fs.cli.progress import Progress, complain_of
    from fossil_fs.ingest.report import Report
    from venti_store.open import is_local

    if args.add_to is not None:
        from venti_store.names.words import check_name

        check_name(args.add_to)
    address = store_address(args, create=True)
    started = time.monotonic()
    report = Report(on_trouble=complain_of("vac"))
    with Progress(report, shown=not args.quiet and not args.json) as progress:
        report.on_trouble = progress.around(report.on_trouble)
        run = _run_local if is_local(address) else _run_far
        outcome, new = run(args, address, report)
    if args.add_to is not None:
        _name(args.add_to, outcome.score, address)
    _print(args, report, outcome, new, time.monotonic() - started)
    return Exit.PARTIAL if report.troubles else Exit.OK


def _name(name: str, score: "Score", address: str) -> None:
    from fossil_fs.cli.common import names_here

    names = names_here(address)
    newest = names.newest(name)
    if newest is None or newest.score != score:
        names.record(name, score, time.time_ns() // 1000)


def _run_local(
    args: argparse.Namespace, address: str, report: "Report"
) -> "tuple[Outcome, Counts | None]":
    """Archive into a store on this machine; also return what its log grew by."""
    from fossil_fs.ingest.archive import archive
    from lib9.waiting import run_now
    from venti_store.stores.lmdb.append import Counts
    from venti_store.stores.lmdb.statistics import statistics
    from venti_store.stores.lmdb.store import LmdbStore

    store = LmdbStore(address)
    try:
        before = statistics(store.environment).total()
        outcome = archive(
            store,
            [os.fsencode(path) for path in args.paths],
            _options(args, store.family, address),
            report,
            previous=run_now(_previous(args, store, address)),
            address=address,
        )
        after = statistics(store.environment).total()
        grown = (a - b for a, b in zip(astuple(after), astuple(before), strict=True))
        return outcome, Counts(*grown)
    finally:
        run_now(store.aclose())


def _run_far(
    args: argparse.Namespace, address: str, report: "Report"
) -> "tuple[Outcome, Counts | None]":
    """Archive into a store that is reached through an event loop, from a thread beside it."""
    import trio

    from fossil_fs.ingest.archive import archive
    from lib9.waiting import in_loop
    from venti_store.open import open_store

    async def run() -> "Outcome":
        store = await open_store(address)
        try:
            previous = await _previous(args, store, address)
            wait = in_loop()
            paths = [os.fsencode(path) for path in args.paths]
            options = _options(args, store.family, None)
            return await trio.to_thread.run_sync(
                lambda: archive(store, paths, options, report, previous=previous, wait=wait),
                abandon_on_cancel=True,
            )
        finally:
            await store.aclose()

    return trio.run(run), None


def _options(args: argparse.Namespace, family: "Family", address: str | None) -> "Options":
    from fossil_fs.ingest.exclude import Exclude
    from fossil_fs.ingest.options import Options, check_dsize, default_dsize
    from lib9.errors import UsageError
    from lib9.sizes import parse_size

    dsize = default_dsize(family)
    if args.block_size is not None:
        dsize = check_dsize(parse_size(args.block_size), family)
    if args.jobs is not None and not 0 <= args.jobs <= 64:
        raise UsageError(f"{args.jobs}: not a number of processes, 0 to 64")
    return Options(
        dsize=dsize,
        readers=args.jobs if args.jobs is not None else max(2, min(os.cpu_count() or 1, 8)),
        exclude=Exclude(os.fsencode(pattern) for pattern in args.exclude),
        one_file_system=args.one_file_system,
        skip=_skipped(address),
    )


def _skipped(address: str | None) -> frozenset[tuple[int, int]]:
    """Return the directories that an archive must not hold: the store and what we remember of it."""
    from fossil_fs.cli.common import memory_folder

    places = set()
    for path in (address, memory_folder()):
        if path is not None and os.path.isdir(path):
            state = os.stat(path)
            places.add((state.st_dev, state.st_ino))
    return frozenset(places)


async def _previous(
    args: argparse.Namespace, store: "BlockStore", address: str
) -> "Previous | None":
    """Return what -a NAME goes on with; a root that this store has not is told and left behind."""
    from fossil_fs.cli.common import memory_folder, names_here
    from fossil_fs.ingest.archive import Previous
    from venti_store.interfaces import Key
    from venti_store.kind import Kind

    if args.add_to is None:
        return None
    named = names_here(address).newest(args.add_to)
    score = named.score if named is not None else None
    if score is not None and (
        len(score) != store.family.size or not (await store.have_many([Key(score, Kind.ROOT)]))[0]
    ):
        sys.stderr.write(
            f"vac: {args.add_to}: its last archive is not in this store: starting anew\n"
        )
        score = None
    return Previous(score, os.path.join(memory_folder(), args.add_to))


def _print(
    args: argparse.Namespace,
    report: "Report",
    outcome: "Outcome",
    new: "Counts | None",
    seconds: float,
) -> None:
    from fossil_fs.cli.progress import summary
    from venti_store.score import format_score

    score = format_score(outcome.score)
    if args.json:
        print_json(
            {
                "score": score,
                "unchanged": outcome.unchanged,
                "files": report.files,
                "files_reused": report.files_reused,
                "directories": report.directories,
                "bytes": report.size,
                "troubles": report.troubles,
                "blocks": outcome.fed.blocks,
                "blocks_bytes": outcome.fed.size,
                "blocks_new": new.blocks if new is not None else None,
                "blocks_new_bytes": new.size if new is not None else None,
                "compressed_bytes": new.stored if new is not None else None,
                "seconds": round(seconds, 3),
            }
        )
        return
    if not args.quiet:
        sys.stderr.write(summary(report, outcome, new, seconds) + "\n")
    print(score)


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
