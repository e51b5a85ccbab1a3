"""A server and its clients in one process, over streams that a test holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from lib9.streams import CannotDial
from venti_store.conversation import Limits
from venti_store.server import Server
from venti_store.stores.remote import RemoteStore


class Serving:
    """A server that can be reached, cut off, and replaced."""

    def __init__(self, nursery, store, **options):
        self.nursery = nursery
        self.options = options
        self.links = []  # the server's ends
        self.connects = 0
        self.start(store)

    def start(self, store):
        self.server = Server(store, **self.options)
        self.up = True

    def pair(self):
        return trio.testing.memory_stream_pair()

    async def connect(self):
        self.connects += 1
        await trio.lowlevel.checkpoint()
        if not self.up:
            raise CannotDial("down by intent")
        ours, theirs = self.pair()
        self.links.append(theirs)
        self.nursery.start_soon(self.server.converse, theirs)
        return ours

    async def cut(self, *, down=False):
        """End all connections without a word, as a kill does."""
        self.up = not down
        for link in self.links:
            await trio.aclose_forcefully(link)
        self.links.clear()

    async def client(self, **options):
        return await RemoteStore.open("there", self.connect, **options)


@asynccontextmanager
async def serving(store, **options) -> AsyncIterator[Serving]:
    async with trio.open_nursery() as nursery:
        yield Serving(nursery, store, **options)
        nursery.cancel_scope.cancel()


__all__ = ["Limits", "Serving", "serving"]
