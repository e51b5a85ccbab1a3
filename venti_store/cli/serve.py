"""`venti serve`: a store for other machines, users and containers."""

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial

from lib9.cli import Parser
from lib9.errors import UsageError
from lib9.sizes import parse_duration, parse_size
from venti_store.cli.address import Subcommands

TYPE_CHECKING = False
if TYPE_CHECKING:
    import trio

    from lib9.streams import Dial
    from venti_store.server import Server


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "serve",
        help="serve a store to others",
        description=(
            "Serve a store until SIGTERM, which lets what is under way finish. Each address that is\n"
            "listened on is printed on stdout when it can be used. A sha1 store speaks to Plan 9's\n"
            "programs too. Sockets that a service manager passes on are served as plain ones."
        ),
    )
    p.add_argument("store", metavar="STORE", help="path of the store, or an address")
    p.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="unix!PATH, tcp!HOST!PORT (plain: for loopback and tunnels; HOST * is any) or "
        "noise!HOST!PORT; may be given again",
    )
    p.add_argument("--read-only", action="store_true", help="take no blocks from anybody")
    p.add_argument(
        "--socket-mode",
        metavar="MODE",
        default="0600",
        help="mode of unix sockets: 0666 lets every user in (default: 0600)",
    )
    p.add_argument(
        "--memory",
        metavar="SIZE",
        default="1G",
        help="what all clients together may fill, which limits their number (default: 1G, for 240)",
    )
    p.add_argument(
        "--idle",
        metavar="TIME",
        default="1h",
        help="put clients out that ask nothing for so long (default: 1h)",
    )
    p.add_argument(
        "--key",
        metavar="FILE",
        help="our key, for noise! (default: $XDG_CONFIG_HOME/spawngrid/key)",
    )
    p.add_argument(
        "--peers",
        metavar="FILE",
        help="ndb file of who may come in by noise!: pubkey=, right=venti or right=venti-read; "
        "read again for each (default: $XDG_CONFIG_HOME/spawngrid/ndb)",
    )
    return p


def main(args: argparse.Namespace) -> None:
    import trio

    from lib9 import streams, supervision

    descriptors = supervision.passed_descriptors(os.environ)
    if not args.listen and not descriptors:
        raise UsageError("nothing to listen on: give --listen ADDRESS")
    dials = [streams.parse_dial(text) for text in args.listen]
    trio.run(_serve, args, dials, descriptors)


async def _serve(args: argparse.Namespace, dials: "list[Dial]", descriptors: list[int]) -> None:
    import trio

    from lib9 import streams, supervision
    from venti_store.conversation import Limits
    from venti_store.doors import PlainDoor
    from venti_store.names.gate import NameGate
    from venti_store.open import open_store
    from venti_store.server import Server

    store = await open_store(args.store)
    try:
        limits = Limits(
            memory_bytes_max=parse_size(args.memory), idle_seconds_max=parse_duration(args.idle)
        )
        server = Server(store, read_only=args.read_only, limits=limits, admit_name=NameGate(store))
        mode = _mode(args.socket_mode)
        doors = [_door(server, dial, args) for dial in dials]
        listeners = [await streams.listen(dial, mode=mode) for dial in dials]
        if descriptors:
            doors.append(PlainDoor(server, "a passed socket"))
            listeners.append(streams.listeners_of(descriptors))
        async with trio.open_nursery() as clients:
            async with trio.open_nursery() as accepting:
                for door, several in zip(doors, listeners, strict=True):
                    serve = partial(trio.serve_listeners, handler_nursery=clients)
                    accepting.start_soon(serve, door, several)
                _announce(dials, listeners)
                supervision.notify(os.environ, "READY=1")
                await _told_to_end()
                supervision.notify(os.environ, "STOPPING=1")
                _remove_sockets(dials)
                accepting.cancel_scope.cancel()
            await server.drain()
            clients.cancel_scope.cancel()
    finally:
        await store.aclose()


def _door(
    server: "Server", dial: "Dial", args: argparse.Namespace
) -> "Callable[[trio.SocketStream], Awaitable[None]]":
    from venti_store import known
    from venti_store.doors import PlainDoor, SecureDoor

    if dial.network != "noise":
        return PlainDoor(server, str(dial))
    peers = known.KnownPeers(args.peers)
    return SecureDoor(server, known.identity(args.key), peers, name=str(dial))


def _announce(dials: "list[Dial]", listeners: "list[list[trio.SocketListener]]") -> None:
    for dial, several in zip(dials, listeners, strict=False):
        if dial.network == "unix":
            print(dial)
            continue
        # port 0 was given one by the kernel
        port = several[0].socket.getsockname()[1]
        print(f"{dial.network}!{dial.host}!{port}")
    sys.stdout.flush()


async def _told_to_end() -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


def _remove_sockets(dials: "list[Dial]") -> None:
    for dial in dials:
        if dial.network == "unix":
            os.unlink(dial.path)


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise UsageError(f"--socket-mode {text}: not an octal mode")
    return mode
