"""The environment's own shell, on its hubs: what is typed goes to it, what it says comes back."""

from __future__ import annotations

import os
from typing import Final

import trio

from hubfs.shell.hubs import ShellHubs, open_reader, write_all
from lib9.errors import SpawngridError
from spawngrid.attach import wire
from spawngrid.attach.session import Session
from spawngrid.environment.interface import Environments

TYPED_SIZE_MAX: Final = 64 << 10  # bytes in one message to the hub


class Console:
    """A session on the shell that every environment has; it goes on when the session ends."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def run(self, environments: Environments) -> None:
        """Carry until the shell's hubs are removed; raises nothing but Cancelled."""
        session = self._session
        try:
            environment = await trio.to_thread.run_sync(environments.attach, session.environment_id)
            hubs = ShellHubs(environment.hubs, environment.shell)
            out = await trio.to_thread.run_sync(open_reader, hubs.output)
            sources = {wire.OUT: out}
            if not hubs.on_terminal():
                sources[wire.ERR] = await trio.to_thread.run_sync(open_reader, hubs.errors)
            session.started.set()
            session.changed()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._type, hubs)
                async with trio.open_nursery() as readers:
                    for stream, descriptor in sources.items():
                        readers.start_soon(self._read, stream, descriptor)
                nursery.cancel_scope.cancel()
            session.status = 0
        except SpawngridError as error:
            session.failure = error
        except OSError as error:
            session.failure = SpawngridError(error.strerror or str(error))
        finally:
            session.started.set()
            session.changed()

    async def _read(self, stream: int, descriptor: int) -> None:
        session = self._session
        async with trio.lowlevel.FdStream(descriptor) as source:
            while True:
                await session.until_room()
                data = await source.receive_some(min(session.output.room, wire.DATA_SIZE_MAX))
                if not data and os.fstat(descriptor).st_nlink == 0:
                    return
                session.output.add(stream, bytes(data))
                session.changed()

    async def _type(self, hubs: ShellHubs) -> None:
        while True:
            data = await self._session.typed(TYPED_SIZE_MAX)
            if not data:
                return
            await trio.to_thread.run_sync(write_all, hubs.input, data)
            self._session.changed()
