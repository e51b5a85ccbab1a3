"""Who comes in through which address of a hub mount, and as whom."""

from __future__ import annotations

import logging
import os
import socket
import struct
from typing import Final

import trio

from hubfs.net.service import HubService
from hubfs.net.visitors import RIGHTS, SERVICE, Visitor, rights_of
from lib9 import secure
from lib9.errors import Refused, RemoteProtocolError
from lib9.keys import BadKey, Identity
from lib9.streams import Dial
from venti_store.known import KnownPeers

log = logging.getLogger("hubfs")

CONNECTIONS_MAX: Final = 768  # a process may have 1024 descriptors by default

# who cannot be told apart: reached by way of loopback or a tunnel that admits only friends
_PLAIN = frozenset(("read", "append", "create"))
_CREDENTIALS = struct.Struct("3i")


class Door:
    """Lets in those who dial the hubs of one mount, CONNECTIONS_MAX at a time by all addresses."""

    def __init__(self, service: HubService, identity: Identity | None) -> None:
        self._service = service
        self._identity = identity
        self._peers = KnownPeers()
        self._room = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def serve(self, dial: Dial, listener: trio.SocketListener) -> None:
        """Serve whoever comes in through `listener`; runs until cancelled."""

        async def serve(stream: trio.SocketStream) -> None:
            try:
                self._room.acquire_nowait()
            except trio.WouldBlock:
                log.warning("%s: turned away: %d are here", dial, CONNECTIONS_MAX)
                await trio.aclose_forcefully(stream)
                return
            try:
                await self._serve(dial, stream)
            finally:
                self._room.release()

        await trio.serve_listeners(serve, [listener])

    async def _serve(self, dial: Dial, stream: trio.SocketStream) -> None:
        try:
            talk, visitor, place = await self._let_in(dial, stream)
        except (Refused, RemoteProtocolError, BadKey) as error:
            log.warning("%s: turned away: %s", dial, error)
        except (trio.TooSlowError, trio.BrokenResourceError, OSError) as error:
            log.info("%s: %s", dial, error)
        except Exception:
            log.exception("%s: unexpected error", dial)
        else:
            await self._service.converse(talk, visitor, place)

    async def _let_in(
        self, dial: Dial, stream: trio.SocketStream
    ) -> tuple[trio.abc.Stream, Visitor, str]:
        if dial.network == "unix":
            visitor = _local(stream)
            return stream, visitor, str(dial)
        host = str(stream.socket.getpeername()[0])
        if dial.network == "tcp":
            return stream, Visitor("anyone", _PLAIN), f"tcp!{host}"
        assert self._identity is not None
        accepted = await secure.accept(stream, self._identity.channel_keys(), self._admit)
        return accepted.stream, accepted.peer, f"noise!{host}"

    def _admit(self, key: bytes, service: str) -> Visitor:
        """Return who holds this channel key; Refused unless they may do something with hubs."""
        peer = self._peers().by_channel_key(key)
        rights = rights_of(peer.rights) if peer is not None else frozenset()
        if peer is None or service != SERVICE or not rights:
            raise Refused("no right to hubs here")
        return Visitor(peer.name, rights)


def _local(stream: trio.SocketStream) -> Visitor:
    """The kernel tells who is at the other end of a unix socket."""
    found = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    assert isinstance(found, bytes)
    uid = _CREDENTIALS.unpack(found)[1]
    return Visitor(f"uid {uid}", frozenset(RIGHTS) if uid in (0, os.geteuid()) else _PLAIN)
