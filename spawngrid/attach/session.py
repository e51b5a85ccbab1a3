"""One command in an environment, whether or not its client is connected just now.

Output is read as long as there is room to keep it: a client that is away, or slow, holds its own
command and nobody else's. A client that stays away for AWAY_SECONDS_MAX ends the command.
"""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from lib9.errors import SpawngridError
from spawngrid.attach import wire
from spawngrid.attach.kept import Kept
from spawngrid.environment.interface import Command, Environments, Streams

log = logging.getLogger("grid")

AWAY_SECONDS_MAX: Final = 3600.0
HANG_UP_SECONDS_MAX: Final = 5.0  # between SIGHUP and SIGKILL
DRAIN_SECONDS: Final = 0.2  # for output of children that outlive the command
SESSIONS_MAX: Final = 256  # of one node
SESSIONS_OF_ONE_MAX: Final = 64  # of one key there: nobody takes all of them
_VARIABLES_MAX: Final = 256

_threads = trio.CapacityLimiter(2 * SESSIONS_MAX)  # each session waits in one


class Session:
    """A command and what is on its way to and from it."""

    def __init__(self, asked: wire.Open, owner: bytes, environment_id: str) -> None:
        self.asked = asked
        self.owner = owner  # the X25519 key of who opened it
        self.environment_id = environment_id
        self.output = Kept(wire.KEPT_SIZE_MAX)
        self.taken = 0  # bytes of input that came
        self.status: int | None = None
        self.failure: SpawngridError | None = None
        self.started = trio.Event()
        self.ended = trio.Event()
        self.scope = trio.CancelScope()  # of what no signal ends: the shell that all share goes on
        self.changed: Callable[[], None] = lambda: None  # tells the connection there is now
        self.away_since: float | None = None
        self._input = bytearray()
        self._input_ended = False
        self._wake = trio.Event()
        self._command: Command | None = None
        self._terminal = -1
        self._exited = False
        self._receiving: set[trio.CancelScope] = set()

    async def run(self, environments: Environments) -> None:
        """Run the command to its end; raises nothing but Cancelled."""
        try:
            if self.asked.kind == wire.TERMINAL:
                await self._on_terminal(environments)
            else:
                await self._on_pipes(environments)
        except SpawngridError as error:
            self.failure = error
        except OSError as error:
            log.warning("session: %s", error)
            self.failure = SpawngridError(error.strerror or str(error))
        finally:
            self.started.set()
            self.ended.set()
            self.changed()

    def type(self, position: int, data: bytes) -> None:
        """Take input; what came before is not taken again."""
        fresh = data[max(0, self.taken - position) :]
        if position > self.taken or self._input_ended:
            return
        if len(self._input) + len(fresh) > wire.KEPT_SIZE_MAX:
            return  # it was not acknowledged: it comes again
        self._input += fresh
        self.taken += len(fresh)
        self._look()

    def type_end(self) -> None:
        self._input_ended = True
        self._look()

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal >= 0:
            size = struct.pack("HHHH", min(rows, 65535), min(columns, 65535), 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)
            self.signal(signal.SIGWINCH)

    def signal(self, number: int) -> None:
        if self._command is not None and 0 < number < signal.NSIG and self.status is None:
            with suppress(OSError, SpawngridError):
                self._command.signal(number)

    def seen(self, position: int) -> None:
        """The client has so many bytes of output."""
        self.output.acknowledge(position)
        self._look()

    async def until_room(self) -> None:
        """Return when more output can be kept."""
        while not self.output.room:
            await self._wake.wait()

    async def typed(self, size: int) -> bytes:
        """Return the next bytes of input; b"" when there will be no more."""
        while not self._input:
            if self._input_ended:
                return b""
            await self._wake.wait()
        data = bytes(self._input[:size])
        del self._input[:size]
        return data

    async def hang_up(self) -> None:
        """End the command, as when a terminal goes away."""
        self.changed()
        self.signal(signal.SIGHUP)
        with trio.move_on_after(HANG_UP_SECONDS_MAX):
            await self.ended.wait()
        self.signal(signal.SIGKILL)
        self.scope.cancel()
        self.output.acknowledge(self.output.sent)
        self._look()

    def _look(self) -> None:
        self._wake.set()
        self._wake = trio.Event()

    async def _start(
        self, environments: Environments, streams: Streams, *, terminal: bool
    ) -> Command:
        asked = self.asked
        arguments = [os.fsdecode(word) for word in asked.arguments] or ["/bin/sh", "-l"]
        variables = {
            os.fsdecode(v.name): os.fsdecode(v.value) for v in asked.variables[:_VARIABLES_MAX]
        }

        def run() -> Command:
            return environments.run(
                self.environment_id,
                arguments,
                streams,
                terminal=terminal,
                variables=variables,
            )

        self._command = await trio.to_thread.run_sync(run, limiter=_threads)
        self.started.set()
        self.changed()
        return self._command

    async def _on_pipes(self, environments: Environments) -> None:
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = (
            os.pipe2(os.O_CLOEXEC) for _ in range(3)
        )
        try:
            command = await self._start(
                environments, Streams(in_read, out_write, err_write), terminal=False
            )
        except BaseException:
            for descriptor in (in_write, out_read, err_read):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (in_read, out_write, err_write):
                os.close(descriptor)
        await self._carry(command, {wire.OUT: out_read, wire.ERR: err_read}, in_write)

    async def _on_terminal(self, environments: Environments) -> None:
        master, slave = pty.openpty()
        os.set_inheritable(master, False)
        os.set_inheritable(slave, False)
        self._terminal = master
        self.resize(self.asked.rows, self.asked.columns)
        try:
            command = await self._start(environments, Streams(slave, slave, slave), terminal=True)
        except BaseException:
            os.close(master)
            self._terminal = -1
            raise
        finally:
            os.close(slave)
        await self._carry(command, {wire.OUT: master}, os.dup(master))

    async def _carry(self, command: Command, outputs: dict[int, int], stdin: int) -> None:
        """Carry bytes until the command has ended and all it said was kept."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_input, stdin)
            async with trio.open_nursery() as readers:
                for stream, descriptor in outputs.items():
                    readers.start_soon(self._read_output, stream, descriptor)
                status = await self._wait(command)
                # children may hold its streams open: what they say later is nobody's
                self._exited = True
                for scope in self._receiving:
                    scope.deadline = trio.current_time() + DRAIN_SECONDS
            nursery.cancel_scope.cancel()
        self._terminal = -1
        self.status = status

    async def _wait(self, command: Command) -> int:
        def wait() -> int:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return command.wait(None)

        return await trio.to_thread.run_sync(wait, abandon_on_cancel=True, limiter=_threads)

    async def _read_output(self, stream: int, descriptor: int) -> None:
        async with trio.lowlevel.FdStream(descriptor) as source:
            while True:
                await self.until_room()
                size = min(self.output.room, wire.DATA_SIZE_MAX)
                data: bytes | bytearray = b""
                with trio.CancelScope() as scope:
                    if self._exited:
                        scope.deadline = trio.current_time() + DRAIN_SECONDS
                    self._receiving.add(scope)
                    with suppress(trio.BrokenResourceError):  # EIO: nobody has the terminal open
                        data = await source.receive_some(size)
                self._receiving.discard(scope)
                if not data:
                    return
                self.output.add(stream, bytes(data))
                self.changed()

    async def _write_input(self, descriptor: int) -> None:
        async with trio.lowlevel.FdStream(descriptor) as sink:
            try:
                while data := await self.typed(wire.KEPT_SIZE_MAX):
                    await sink.send_all(data)
                    self.changed()
                if self._terminal >= 0:
                    await sink.send_all(b"\x04")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._input.clear()  # the command reads no more

    @property
    def acknowledged(self) -> int:
        """Bytes of input that were passed on: the client need not keep them."""
        return self.taken - len(self._input)
