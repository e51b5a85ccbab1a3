"""How hub mounts reach each other: who may come in, and whom a remote mount expects."""

from __future__ import annotations

import logging
import os
import socket
import struct

import trio

from hubfs.net.link import Connect
from hubfs.net.service import HubService
from hubfs.net.visitors import RIGHTS, SERVICE, Visitor, rights_of
from lib9 import secure, streams
from lib9.errors import Refused, RemoteProtocolError
from lib9.keys import BadKey, Identity, channel_key
from lib9.streams import CannotDial, Dial
from venti_store import known

log = logging.getLogger("hubfs")

# who cannot be told apart: reached by way of loopback or a tunnel that admits only friends
_PLAIN = frozenset(("read", "append", "create"))
_CREDENTIALS = struct.Struct("3i")


async def serve_listener(
    service: HubService, dial: Dial, listener: trio.SocketListener, identity: Identity | None
) -> None:
    """Serve whoever comes in through `listener`; runs until cancelled."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            talk, visitor, place = await _let_in(dial, stream, identity)
        except (Refused, RemoteProtocolError, BadKey) as error:
            log.warning("%s: turned away: %s", dial, error)
            return
        except (trio.TooSlowError, trio.BrokenResourceError, OSError) as error:
            log.info("%s: %s", dial, error)
            return
        await service.converse(talk, visitor, place)

    await trio.serve_listeners(serve, [listener])


def admit(key: bytes, service: str) -> Visitor:
    """Return who holds this channel key; Refused unless they may do something with hubs."""
    peer = known.peers().by_channel_key(key)
    rights = rights_of(peer.rights) if peer is not None else frozenset()
    if peer is None or service != SERVICE or not rights:
        raise Refused("no right to hubs here")
    return Visitor(peer.name, rights)


async def _let_in(
    dial: Dial, stream: trio.SocketStream, identity: Identity | None
) -> tuple[trio.abc.Stream, Visitor, str]:
    if dial.network == "unix":
        visitor = _local(stream)
        return stream, visitor, str(dial)
    host = str(stream.socket.getpeername()[0])
    if dial.network == "tcp":
        return stream, Visitor("anyone", _PLAIN), f"tcp!{host}"
    assert identity is not None
    accepted = await secure.accept(stream, identity.channel_keys(), admit)
    return accepted.stream, accepted.peer, f"noise!{host}"


def _local(stream: trio.SocketStream) -> Visitor:
    """The kernel tells who is at the other end of a unix socket."""
    found = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    assert isinstance(found, bytes)
    uid = _CREDENTIALS.unpack(found)[1]
    return Visitor(f"uid {uid}", frozenset(RIGHTS) if uid in (0, os.geteuid()) else _PLAIN)


def connector(dial: Dial) -> Connect:
    """Return what connects to a hub service; for `noise!`, BadKey if it or we have no key."""
    if dial.network != "noise":

        async def plain() -> trio.abc.Stream:
            return await streams.dial(dial)

        return plain
    peer = known.peers().by_dial(str(dial))
    if peer is None:
        raise BadKey(f"{dial}: no record with dial={dial} and pubkey= says who that is")
    ours, theirs = known.identity().channel_keys(), channel_key(peer.public)

    async def connect() -> trio.abc.Stream:
        transport = await streams.dial(dial)
        try:
            return await secure.connect(transport, ours, theirs, SERVICE)
        except (trio.BrokenResourceError, trio.TooSlowError):
            raise CannotDial(f"{dial}: the handshake broke off") from None

    return connect
