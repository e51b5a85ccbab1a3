"""`python -m tests.kit.liar STORE PORT HOW`: a server that lies about the store at a path.

HOW is `omits`: its log has the names and not the blocks, which it says it has; `forges`: its blocks
have other bytes; `both`.
"""

import sys
from contextlib import contextmanager

import trio

from venti_store.server import Server
from venti_store.stores.lmdb.store import LmdbStore


class LyingStore:
    """What a server needs of a store, each answer as false as it may be."""

    def __init__(self, store: LmdbStore, how: str) -> None:
        self._store, self.family, self.store_id = store, store.family, store.store_id
        self._omits, self._forges = how in ("omits", "both"), how in ("forges", "both")

    def log(self, start=1):
        number = 0
        for record in self._store.log():
            if record.kind is None or not self._omits:
                number += 1
                if number >= start:
                    yield record._replace(number=number)

    def entries(self, start=1):
        from venti_store.interfaces import LogEntry

        for r in self.log(start):
            yield LogEntry(r.number, r.kind, r.score, r.size, r.size)

    def last_number(self):
        return sum(1 for _ in self.log())

    async def wait_log(self, number):
        await self._store.wait_log(number)

    async def have_many(self, keys):
        return [True] * len(keys)

    async def get_many(self, keys):
        if self._forges:
            return [b"forged"] * len(keys)
        return await self._store.get_many(keys)

    @contextmanager
    def views(self, keys):
        if self._forges:
            yield [b"forged"] * len(keys)
            return
        with self._store.views(keys) as blocks:
            yield blocks

    async def sync(self):
        return


async def main(path: str, port: str, how: str) -> None:
    server = Server(LyingStore(LmdbStore(path), how), read_only=True)
    await trio.serve_tcp(server.converse, int(port))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
