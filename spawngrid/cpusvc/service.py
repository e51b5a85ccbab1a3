"""cpusvc as a process: lines of cpu.in in, environments started, saved and ended, lines out.

What takes time runs in threads, WORKERS of them; everything else in one thread with one poll.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lib9.errors import SpawngridError
from lib9.faults import fault
from spawngrid.cpusvc.dispatch import Dispatcher
from spawngrid.cpusvc.work import Work, Worker, memory_bytes
from spawngrid.environment.interface import Environments
from spawngrid.errors import BadWord
from spawngrid.hubtexts.hubs import HubReader, append_line
from spawngrid.hubtexts.to_cpu import Admit
from spawngrid.settings.config import NodeConfig

log = logging.getLogger("cpusvc")

WORKERS: Final = 8
HERE_SECONDS: Final = 4.0  # between two `here`, less than a storage node's patience by far
LOOK_SECONDS: Final = 2.0  # between two looks at what really runs


class Service:
    """The dispatcher of one cpu node."""

    def __init__(self, config: NodeConfig, key: str, environments: Environments) -> None:
        self._config = config
        self._worker = Worker(config, environments)
        self._dispatcher = Dispatcher(config.name, config.dial, key)
        self._reader = HubReader(config.hub("cpu.in"))
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._looking = False

    def run(self) -> None:
        """Serve until SIGTERM; environments go on."""
        told: list[int] = []
        signal.set_wakeup_fd(self._wake_write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: told.append(number))
        begun = self._dispatcher.step()
        self._dispatcher.seen(begun, self._worker.mend())
        for _ in range(WORKERS):
            threading.Thread(target=self._work, daemon=True).start()
        said = looked = -1e9
        while not told:
            now = time.monotonic()
            if self._reader.descriptor < 0 and self._reader.open():
                said = -1e9  # whoever was told nothing meanwhile hears that we are here
            if now - looked >= LOOK_SECONDS and not self._looking:
                looked = now
                self._look()
            if now - said >= HERE_SECONDS and self._reader.descriptor >= 0:
                said = now
                self._say_here()
            self._wait()
            for line in self._reader.lines():
                self._take(line)
            while not self._results.empty():
                self._results.get()()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._reader.descriptor >= 0:
            poll.register(self._reader.descriptor, select.POLLIN)
        poll.poll(1000)
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            return

    def _take(self, line: str) -> None:
        try:
            answers, work, say_here = self._dispatcher.line(line)
        except BadWord as error:
            log.warning("cpu.in: %s", error)
            append_line(self._config.hub("cpu.err"), f"{self._config.name}: {error}")
            return
        for answer in answers:
            self._say(answer)
        if isinstance(work, Admit):  # here, so that the last that was told is the last that is done
            self._say(self._dispatcher.done(work, self._worker.answer(work)))
        elif work is not None:
            self._begin(work)
        if say_here:
            self._say_here()

    def _begin(self, work: Work) -> None:
        def run() -> None:
            answer = self._worker.answer(work)
            self._give(lambda: self._say(self._dispatcher.done(work, answer)))

        self._todo.put(run)

    def _look(self) -> None:
        self._looking = True
        begun = self._dispatcher.step()

        def look() -> None:
            try:
                states: dict[str, str] | None = self._worker.states()
            except (SpawngridError, OSError) as error:
                log.warning("environments: %s", error)
                states = None

            def seen() -> None:
                self._looking = False
                if states is not None and self._dispatcher.seen(begun, states):
                    self._say_here()

            self._give(seen)

        self._todo.put(look)

    def _give(self, result: Callable[[], None]) -> None:
        """Have something done in the main thread."""
        self._results.put(result)
        with suppress(BlockingIOError):  # full: it is awake
            os.write(self._wake_write, b"\0")

    def _work(self) -> None:
        while True:
            self._todo.get()()

    def _say(self, text: str) -> None:
        fault("cpusvc.before-say")
        append_line(self._config.hub("cpu.out"), text)

    def _say_here(self) -> None:
        free, total = memory_bytes()
        self._say(self._dispatcher.here(free, total))
