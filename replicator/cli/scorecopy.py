"""`scorecopy`: the names of a peer, without the blocks."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry, print_json
from lib9.errors import Exit
from lib9.telling import printable
from venti_store.cli.address import add_store_option, store_address

if TYPE_CHECKING:
    from collections import Counter

    from venti_store.names.interfaces import State, Verdict


def parser() -> Parser:
    """Return the argument parser of scorecopy."""
    p = Parser(
        "scorecopy",
        description=(
            "Copy the names of a peer into the log of our store: those whose blocks are all here, which\n"
            "are printed when they are new. The others are kept and wait for their blocks, which\n"
            "ventiprog or venti copy bring. Every record is checked. Status 3: some wait or were refused."
        ),
    )
    p.add_argument(
        "peer", metavar="PEER", help="address of a store, or the name of a node of the ndb file"
    )
    p.add_argument("--json", action="store_true", help="print one object for each record")
    add_store_option(p)
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Take names, and say what became of them."""
    from collections import Counter

    import trio

    from lib9.faults import VARIABLE, arm_kill
    from replicator.cli.address import peer_address
    from venti_store.names.interfaces import State

    if spec := os.environ.get(VARIABLE):
        arm_kill(spec)
    counts: Counter[State] = Counter()
    trio.run(_copy, args, peer_address(args.peer), counts)
    if not args.json:
        words = ", ".join(f"{counts[state]:,} {state}" for state in State if counts[state])
        sys.stderr.write(f"scorecopy: {args.peer}: {words or 'no names'}\n")
    return Exit.PARTIAL if counts[State.PENDING] or counts[State.REFUSED] else Exit.OK


async def _copy(args: argparse.Namespace, peer: str, counts: "Counter[State]") -> None:
    from replicator.ends import end_of
    from replicator.scorecopy import copy_names
    from venti_store.cli.address import path_of
    from venti_store.names.opened import open_book
    from venti_store.open import open_store
    from venti_store.stores.lmdb.store import LmdbStore

    path = path_of(store_address(args))
    there = await open_store(peer)
    try:
        here = LmdbStore(path, family=there.family)
        try:

            def tell(verdicts: "list[Verdict]") -> None:
                for verdict in verdicts:
                    counts[verdict.state] += 1
                    _print(args, verdict)

            await copy_names(end_of(there, peer), open_book(here, path), tell)
        finally:
            await here.aclose()
    finally:
        await there.aclose()


def _print(args: argparse.Namespace, verdict: "Verdict") -> None:
    from venti_store.names.interfaces import State

    if args.json:
        facts = {"scorename": verdict.label, "is": verdict.state, "why": verdict.why or None}
        print_json(facts)
    elif verdict.state is State.RECORDED:
        sys.stdout.write(f"{verdict.label}\n")
    elif verdict.why:
        why = verdict.why.removeprefix(f"{verdict.label}: ")
        sys.stderr.write(f"scorecopy: {printable(f'{verdict.label}: {verdict.state}: {why}')}\n")


run = entry(parser, main)
