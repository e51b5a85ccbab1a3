"""The one listener of a node: who comes in, by key, and for which service.

venti     nodes and operators: right `venti` or `venti-read`; never users of the grid
hub       users, cpu nodes, operators: each the hubs that are theirs
request   users of the grid
enrol     whoever holds a token
attach    who may enter an environment of this node; console: its own shell
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from lib9 import secure
from lib9.errors import Refused, RemoteProtocolError
from lib9.keys import BadKey, Identity, Peer, Peers
from spawngrid.attach.admitted import Admitted
from venti_store.doors import RIGHT, RIGHT_READ

log = logging.getLogger("grid")

HANDSHAKES_MAX: Final = (
    64  # at a time; then the slowest gives way, so who is silent keeps nobody out
)
CONNECTIONS_MAX: Final = 4096
HOUSE_SECONDS: Final = 5.0  # how soon who is known no more is out
TOLD_MAX: Final = 100  # lines of the log in TOLD_SECONDS: strangers may not fill a disk with it
TOLD_SECONDS: Final = 60.0
CONNECTIONS_OF_ONE_MAX: Final = (
    256  # of a key without the right to venti: none takes others' places
)


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who was let in: a peer that is known, or the name of who may enter an environment."""

    name: str
    peer: Peer | None
    key: bytes  # X25519


@dataclass(frozen=True, slots=True)
class Service:
    """What is served under a name. `admits` says whether a guest may have it."""

    admits: Callable[[Guest], bool]
    serve: Callable[[trio.abc.Stream, Guest, str], Awaitable[None]]
    strangers: bool = False  # also to those who are not known


class Listener:
    """Lets in whose key may have the service that it asks for. Changes of the files count at once."""

    def __init__(
        self,
        identity: Identity,
        services: dict[str, Service],
        peers: Callable[[], Peers],
        admitted: Admitted | None,
    ) -> None:
        self._keys = identity.channel_keys()
        self._services = services
        self._peers = peers
        self._admitted = admitted
        self._shaking: deque[trio.CancelScope] = deque()
        self._connections: Counter[bytes] = Counter()
        self._open: dict[trio.CancelScope, tuple[Guest, str]] = {}
        self._told = 0
        self._told_since = -TOLD_SECONDS

    async def keep_house(self) -> None:
        """End the connections of who is known no more, or has lost a right; runs until cancelled."""
        while True:
            await trio.sleep(HOUSE_SECONDS)
            try:
                peers = self._peers()
            except BadKey as error:
                log.warning("%s", error)
                continue
            for scope, (guest, name) in list(self._open.items()):
                now = self._guest(guest.key, peers) or Guest("", None, guest.key)
                service = self._services[name]
                known = now.peer is not None or now.name or service.strangers
                if not known or not service.admits(now):
                    self._tell(
                        f"{guest.name or 'somebody'}: cut off: has no right to {name} any longer"
                    )
                    scope.cancel()

    async def __call__(self, stream: trio.SocketStream) -> None:
        """Serve one connection; raises nothing but Cancelled."""
        place = "noise"
        try:
            place = f"noise!{stream.socket.getpeername()[0]}"
            accepted = await self._accept(stream)
            if accepted is None:
                self._tell(f"{place}: turned away: too many handshakes at a time")
                return
            await self._serve(accepted, place)
        except (Refused, RemoteProtocolError, BadKey) as error:
            self._tell(f"{place}: turned away: {error}")
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
            log.info("%s: went away", place)
        except Exception:
            log.exception("%s: unexpected error", place)

    async def _accept(self, stream: trio.SocketStream) -> secure.Accepted[Guest] | None:
        """Shake hands; None for one that gave way to somebody else."""
        if len(self._shaking) >= HANDSHAKES_MAX:
            self._shaking.popleft().cancel()
        with trio.CancelScope() as scope:
            self._shaking.append(scope)
            try:
                return await secure.accept(stream, self._keys, self._admit)
            finally:
                if scope in self._shaking:
                    self._shaking.remove(scope)
        return None

    async def _serve(self, accepted: secure.Accepted[Guest], place: str) -> None:
        guest = accepted.peer
        self._connections[guest.key] += 1
        scope = trio.CancelScope()
        self._open[scope] = (guest, accepted.service)
        try:
            with scope:
                await self._services[accepted.service].serve(accepted.stream, guest, place)
        finally:
            del self._open[scope]
            self._connections[guest.key] -= 1
            if not self._connections[guest.key]:
                del self._connections[guest.key]
            if accepted.stream.breach is not None:
                who = guest.name or "somebody"
                self._tell(f"{place}: {who}: cut off: {accepted.stream.breach}")

    def _tell(self, text: str) -> None:
        """Let the operator know what was refused, as long as that is not too much."""
        now = trio.current_time()
        if now - self._told_since >= TOLD_SECONDS:
            self._told, self._told_since = 0, now
        self._told += 1
        if self._told < TOLD_MAX:
            log.warning("%s", text)
        elif self._told == TOLD_MAX:
            log.warning("%s (and no more of this for %.0f s)", text, TOLD_SECONDS)

    def _admit(self, channel_key: bytes, name: str) -> Guest:
        service = self._services.get(name)
        guest = self._guest(channel_key, self._peers())
        if guest is None:
            if service is None or not service.strangers:
                raise Refused("this key is not known here")
            guest = Guest("", None, channel_key)
        if service is None:
            raise Refused(f"no service {name} here")
        if not service.admits(guest):
            raise Refused(f"{guest.name or 'this key'} has no right to {name} here")
        self._check_room(guest)
        return guest

    def _check_room(self, guest: Guest) -> None:
        if self._connections.total() >= CONNECTIONS_MAX:
            raise Refused(f"{CONNECTIONS_MAX} connections are the limit of this node")
        trusted = guest.peer is not None and guest.peer.rights & {RIGHT, RIGHT_READ}
        if self._connections[guest.key] >= CONNECTIONS_OF_ONE_MAX and not trusted:
            raise Refused(f"{CONNECTIONS_OF_ONE_MAX} connections of yours are there already")

    def _guest(self, channel_key: bytes, peers: Peers) -> Guest | None:
        peer = peers.by_channel_key(channel_key)
        if peer is not None:
            return Guest(peer.name, peer, channel_key)
        user = self._admitted.user(channel_key) if self._admitted is not None else None
        return Guest(user, None, channel_key) if user is not None else None
