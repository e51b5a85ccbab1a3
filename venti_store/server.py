"""Serves a store to many clients: answers as they finish, in bounded memory.

What a client makes the server hold (requests not yet carried out, replies not yet sent) is counted.
A client that has filled its room is not read from until it takes its replies: slow ones cost only
themselves. All rooms together are bounded, which bounds the number of clients.
"""

from __future__ import annotations

import logging

import trio

from lib9.errors import SpawngridError
from venti_store.answers import Admit
from venti_store.conversation import Conversation, Limits
from venti_store.interfaces import BlockStore
from venti_store.room import Pool

log = logging.getLogger("venti")


class Server:
    """One store, and everybody who talks to it."""

    def __init__(
        self,
        store: BlockStore,
        *,
        read_only: bool = False,
        limits: Limits | None = None,
        admit_name: Admit | None = None,
    ) -> None:
        """`admit_name` raises why a client's name record may not be appended; without it all may."""
        self.store = store
        self.limits = limits or Limits()
        self.admit_name = admit_name
        self.pool = Pool(self.limits.memory_bytes_max)
        self._read_only = read_only
        self._clients: set[Conversation] = set()
        self._draining = False
        self._leaving = trio.lowlevel.ParkingLot()

    @property
    def clients(self) -> int:
        """How many clients there are now."""
        return len(self._clients)

    async def converse(
        self, stream: trio.abc.Stream, *, read_only: bool = False, who: str = "a client"
    ) -> None:
        """Serve one client until it leaves, breaks the rules, stalls, or the server drains.

        Closes `stream`. Raises nothing but what cancels it: one client's end is no matter of others.
        """
        if self._draining or len(self._clients) >= self.pool.clients_max:
            log.warning("%s: turned away, there are %d clients", who, len(self._clients))
            await trio.aclose_forcefully(stream)
            return
        client = Conversation(self, stream, read_only=self._read_only or read_only, who=who)
        self._clients.add(client)
        try:
            await client.run()
        finally:
            self._clients.discard(client)
            self._leaving.unpark_all()
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await stream.aclose()

    async def drain(self) -> None:
        """Take no more requests, finish those under way, let all clients go, sync the store."""
        self._draining = True
        for client in self._clients:
            client.drain()
        with trio.move_on_after(self.limits.drain_seconds_max):
            while self._clients:
                await self._leaving.park()
        try:
            await self.store.sync()
        except SpawngridError as error:
            log.warning("%s", error)
