"""`ventiprog`: one step of replication by hand."""

import argparse
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json
from lib9.errors import Exit, UsageError
from lib9.sizes import format_count, format_size
from venti_store.cli.address import add_store_option, store_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from replicator.follower import Hole
    from replicator.following import Progress
    from replicator.info import InfoFile
    from replicator.positions import Direction
    from replicator.step import Outcome

HOLES_SHOWN_MAX = 20  # lines on stderr; the rest is only counted


def parser() -> Parser:
    """Return the argument parser of ventiprog."""
    p = Parser(
        "ventiprog",
        description=(
            "Bring what one store has and another lacks: blocks, then the names they complete. How far\n"
            "it went is kept in a server.info file, so that the next run asks only for what is new; an\n"
            "interrupted run is taken up by running it again. Every block is checked, and a name never\n"
            "arrives before all of its root. Without --pull our store is brought to the peer, as Plan 9's\n"
            "ventiprog does, whose files are read."
        ),
    )
    p.add_argument(
        "-f",
        "--file",
        metavar="FILE",
        default="server.info",
        help="the server.info file: venti= is the peer, positions are added (default: server.info)",
    )
    p.add_argument(
        "peers",
        metavar="PEER",
        nargs="*",
        help="address of a store, or the name of a node of the ndb file (default: venti= of FILE)",
    )
    add_store_option(p)
    p.add_argument("--pull", action="store_true", help="bring what the peer has to our store")
    p.add_argument("--push", action="store_true", help="bring what our store has to the peer")
    p.add_argument(
        "--root",
        metavar="SCORE",
        action="append",
        default=[],
        help="with --pull from a classic venti, which has no log: bring this tree; may be given "
        "again (default: every root= of FILE)",
    )
    p.add_argument(
        "--rescan", action="store_true", help="pay no heed to positions: ask for everything again"
    )
    p.add_argument("--json", action="store_true", help="print one object for each peer and way")
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Follow in each direction that was asked for, peer after peer."""
    import os

    import trio

    from lib9.faults import VARIABLE, arm_kill
    from replicator.cli.address import peer_address
    from replicator.info import InfoFile
    from replicator.positions import Direction

    if spec := os.environ.get(VARIABLE):
        arm_kill(spec)
    if not args.peers and not os.path.exists(args.file):
        raise UsageError(f"{args.file}: not there, so no venti= says which peer: name one")
    info = InfoFile.open(args.file)
    try:
        peers = [peer_address(peer) for peer in args.peers] or [info.info.venti]
        if not peers[0]:
            raise UsageError(f"{args.file}: no venti= says which peer: name one")
        if len(args.peers) == 1:
            info.set_peer(peers[0])
        ways = [Direction.PULL] if args.pull else []
        ways += [Direction.PUSH] if args.push or not args.pull else []
        whole = True
        for peer in peers:
            for way in ways:
                outcome = trio.run(_step, args, info, peer, way)
                _report(args, peer, way, outcome)
                whole = whole and outcome.whole
    finally:
        info.close()
    return Exit.OK if whole else Exit.PARTIAL


async def _step(
    args: argparse.Namespace, info: "InfoFile", peer: str, way: "Direction"
) -> "Outcome":
    from replicator.ends import ClassicEnd, end_of
    from replicator.judging import Honest, Judge
    from replicator.naming import SignedNames
    from replicator.positions import Direction
    from replicator.step import copy_roots, follow_once
    from replicator.trust import NodeTrust
    from venti_store.names.opened import open_book
    from venti_store.open import open_store
    from venti_store.stores.lmdb.store import LmdbStore

    pull = way is Direction.PULL
    address = store_address(args, create=pull)
    here = await open_store(address)
    try:
        there = await open_store(peer)
        try:
            ends = end_of(here, address), end_of(there, peer)
            source, sink = ends[::-1] if pull else ends
            show = _progress(f"{way} {peer}")
            if isinstance(source, ClassicEnd):
                texts = args.root or info.info.roots
                roots = [source.family.parse(text) for text in texts]
                if not roots:
                    raise UsageError(f"{peer}: a classic venti has no log: say --root SCORE")
                return await copy_roots(source, sink, roots, show)
            names = SignedNames(NodeTrust())
            judge = Judge(sink.store, names) if pull else Honest()
            outcome = await follow_once(
                way, source, sink, info, judge, rescan=args.rescan,
                accepts=names.accepts() if pull else "", on_change=show,
            )  # fmt: skip
            if pull and isinstance(here, LmdbStore):
                book = open_book(here, address)
                await book.take([bytes(record.data) for record in outcome.waiting])
                await book.refresh()
            return outcome
        finally:
            await there.aclose()
    finally:
        await here.aclose()


def _progress(what: str) -> "Callable[[Progress], None]":
    """Return what shows how far it is, on a terminal only."""
    import time

    if not sys.stderr.isatty():
        return lambda _: None
    shown = 0.0

    def show(progress: "Progress") -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= 0.2 or progress.caught_up:
            shown = now
            done = f"entry {progress.settled:,} of {progress.last:,}" if progress.last else ""
            counts = f"{format_count(progress.blocks, 'block')}, {format_size(progress.size)}"
            sys.stderr.write(
                f"\r\x1b[K{what}: {done}  {counts}" if not progress.caught_up else "\r\x1b[K"
            )
            sys.stderr.flush()

    return show


def _report(args: argparse.Namespace, peer: str, way: str, outcome: "Outcome") -> None:
    progress = outcome.progress
    if outcome.restored:
        sys.stderr.write(f"ventiprog: {outcome.restored}: asked for everything again\n")
    for why in progress.refused:
        sys.stderr.write(f"ventiprog: name not taken: {why}\n")
    for hole in outcome.holes[:HOLES_SHOWN_MAX]:
        sys.stderr.write(f"ventiprog: {_hole(hole)}\n")
    if args.json:
        print_json(
            {
                "peer": peer,
                "way": str(way),
                "blocks": progress.blocks,
                "bytes": progress.size,
                "known": progress.known,
                "names": progress.names,
                "refused": progress.refused_count,
                "holes": len(outcome.holes),
                "names_waiting": len(outcome.waiting),
                "restored": bool(outcome.restored),
                "position": outcome.position,
                "last": outcome.last,
            }
        )
        return
    parts = [
        format_count(progress.blocks, "block"),
        format_size(progress.size),
        format_count(progress.names, "name"),
    ]
    if outcome.holes:
        parts.append(f"{format_count(len(outcome.holes), 'block')} missing")
    if outcome.waiting:
        parts.append(f"{format_count(len(outcome.waiting), 'name')} waiting for that")
    sys.stderr.write(f"ventiprog: {way} {peer}: {', '.join(parts)}\n")


def _hole(hole: "Hole") -> str:
    from venti_store.score import format_score
    from venti_store.stores.messages import kind_name

    if hole.key is None:
        return f"log number {hole.number}: the peer cannot read it"
    return f"{format_score(hole.key.score)} ({kind_name(hole.key.kind)}): nowhere to be had"


run = entry(parser, main)
