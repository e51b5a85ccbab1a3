"""`replicate`: the daemon that keeps this node and its peers alike, and how it is doing."""

import argparse
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lib9.cli import Parser, entry, print_json
from lib9.errors import Exit, UsageError
from lib9.replicas import replicate_socket
from lib9.sizes import format_count, format_size
from venti_store.cli.address import add_store_option, store_address

if TYPE_CHECKING:
    from replicator.peers import PeerNode

STATUS_SECONDS_MAX = 10.0


def parser() -> Parser:
    """Return the argument parser of replicate."""
    p = Parser(
        "replicate",
        description=(
            "Follow the logs of this node's peers, and bring them ours, until SIGTERM: blocks, then the\n"
            "names they complete, as soon as they are there. Peers are the records of the ndb file with\n"
            "replicate=pull, push or both, beside sys= and dial=; SIGHUP reads it again. A peer that does\n"
            "not answer is tried again and again, and stops no other."
        ),
    )
    add_store_option(p)
    p.add_argument(
        "--peers",
        metavar="FILE",
        help="ndb file of the peers (default: $XDG_CONFIG_HOME/spawngrid/ndb)",
    )
    p.add_argument(
        "--info",
        metavar="DIR",
        help="where positions are kept, one PEER.info for each "
        "(default: $XDG_STATE_HOME/spawngrid/replicate)",
    )
    p.add_argument(
        "--socket",
        metavar="PATH",
        help="where the daemon answers (default: $XDG_RUNTIME_DIR/spawngrid/replicate.sock)",
    )
    p.add_argument("--status", action="store_true", help="ask the running daemon how it is doing")
    p.add_argument("--json", action="store_true", help="with --status: print one object")
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Be the daemon, or ask it."""
    if args.status:
        return _status(args)
    if args.json:
        raise UsageError("--json goes with --status")
    import trio

    from lib9.faults import VARIABLE, arm_kill

    if spec := os.environ.get(VARIABLE):
        arm_kill(spec)
    trio.run(_serve, args)
    return Exit.OK


async def _serve(args: argparse.Namespace) -> None:
    import signal

    import trio

    from lib9 import supervision
    from lib9.places import private_directory, run_directory, state_directory
    from replicator.daemon import Daemon
    from replicator.naming import SignedNames
    from replicator.trust import NodeTrust
    from venti_store.errors import StoreError
    from venti_store.open import is_local
    from venti_store.stores.lmdb.store import LmdbStore

    address = store_address(args, create=True)
    if not is_local(address):
        raise StoreError(f"{address}: replicate needs the path of a store, on this machine")
    socket = args.socket or replicate_socket(os.environ)
    if not args.socket:
        private_directory(run_directory(os.environ))
    info = args.info or os.path.join(state_directory(os.environ), "spawngrid", "replicate")
    store = LmdbStore(address)
    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            ended = False
            while not ended:
                daemon = Daemon(store, info, SignedNames(NodeTrust(peers_file=args.peers)))
                peers = _peers(args)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(daemon.run, peers, socket, _started)
                    number = await anext(signals)
                    ended = number != signal.SIGHUP
                    supervision.notify(os.environ, "STOPPING=1" if ended else "RELOADING=1")
                    nursery.cancel_scope.cancel()
    finally:
        await store.aclose()
        with suppress(FileNotFoundError):
            os.unlink(socket)


def _started() -> None:
    from lib9 import supervision

    supervision.notify(os.environ, "READY=1")


def _peers(args: argparse.Namespace) -> "list[PeerNode]":
    from lib9.places import config_file
    from ndbdb.database import Database
    from replicator.peers import peer_nodes

    file = args.peers or config_file("ndb")
    if not os.path.exists(file):
        sys.stderr.write(f"replicate: {file}: not there: no peers\n")
        return []
    found = peer_nodes(Database(file).records())
    if not found:
        sys.stderr.write(f"replicate: {file}: no record with replicate=: no peers\n")
    return found


def _status(args: argparse.Namespace) -> int:
    import json

    from lib9.asking import ask

    path = args.socket or replicate_socket(os.environ)
    [line], _ = ask(path, "status", seconds_max=STATUS_SECONDS_MAX)
    found = json.loads(line)
    if args.json:
        print_json(found)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(found)))
    return Exit.OK


def _lines(found: dict[str, Any]) -> list[str]:
    entries = format_count(found["last"], "entry", "entries")
    names = format_count(found["names_complete"], "name")
    lines = [f"{found['path']}: {entries}, {names} complete"]
    for k in found["links"]:
        lag = (
            f"{format_count(k['lag_entries'], 'entry', 'entries')}, {k['lag_seconds']:g} s behind"
            if k["lag_seconds"]
            else ""
        )
        parts = [f"{k['peer']}: {k['way']} {k['address']}: {k['state']}", lag]
        blocks, names = format_count(k["blocks"], "block"), format_count(k["names"], "name")
        parts.append(f"{blocks}, {format_size(k['bytes'])}, {names}")
        parts.append(f"{format_count(k['holes'], 'block')} missing" if k["holes"] else "")
        parts.append(f"{format_count(k['refused'], 'name')} refused" if k["refused"] else "")
        again = format_count(k["rescans"], "time")
        parts.append(f"asked for everything again {again}" if k["rescans"] else "")
        parts.append(k["failure"])
        lines.append("; ".join(filter(None, parts)))
        lines += [f"{k['peer']}: refused, the last: {why}" for why in k["refusals"][-1:]]
    waiting = [name for name in found["names"] if name["state"] != "complete"]
    lines += [f"{n['name']}: {n['state']}, from {n['peer']}" for n in waiting]
    more = found["names_waiting"] - len(waiting)
    return lines + ([f"and {format_count(more, 'other name')} waiting"] if more else [])


run = entry(parser, main)
