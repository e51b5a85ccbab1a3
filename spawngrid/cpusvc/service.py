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
from typing import Final

from lib9.errors import SpawngridError
from lib9.faults import fault
from spawngrid.attach.admitted import Admission, Admitted
from spawngrid.cpusvc.dispatch import Dispatcher, Work
from spawngrid.environment.interface import Environments, Limits, NoSuchEnvironment, Spec
from spawngrid.errors import BadWord
from spawngrid.hubtexts.hubs import HubReader, append_line
from spawngrid.hubtexts.to_cpu import Admit, Boom, Fetch, Save
from spawngrid.settings.config import NodeConfig

log = logging.getLogger("cpusvc")

WORKERS: Final = 8
HERE_SECONDS: Final = 4.0  # between two `here`, less than a storage node's patience by far
LOOK_SECONDS: Final = 2.0  # between two looks at what really runs
_UNIT: Final = 1024


class Service:
    """The dispatcher of one cpu node."""

    def __init__(self, config: NodeConfig, key: str, environments: Environments) -> None:
        self._config = config
        self._environments = environments
        self._admitted = Admitted(config.place("admitted"))
        self._dispatcher = Dispatcher(config.name, config.dial, key)
        self._reader = HubReader(config.hub("cpu.in"))
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._looking = False
        self._ids: dict[str, str] = {}  # id of the request → id of the environment
        self._ids_lock = threading.Lock()

    def run(self) -> None:
        """Serve until SIGTERM; environments go on."""
        told: list[int] = []
        signal.set_wakeup_fd(self._wake_write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: told.append(number))
        self._mend()
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

    def _mend(self) -> None:
        """Bring what a killed service left into order, and learn what runs."""
        for mended in self._environments.reconcile():
            log.warning("%s %s: %s", mended.kind, mended.name, mended.done)
        self._environments.prepare()
        begun = self._dispatcher.step()
        self._dispatcher.seen(begun, self._states())
        for admission in list(self._admitted.all()):
            if admission.environment not in self._dispatcher.environments:
                self._admitted.remove(admission.environment)

    def _take(self, line: str) -> None:
        try:
            answers, work, say_here = self._dispatcher.line(line)
        except BadWord as error:
            log.warning("cpu.in: %s", error)
            append_line(self._config.hub("cpu.err"), f"{self._config.name}: {error}")
            return
        for answer in answers:
            self._say(answer)
        if work is not None:
            self._begin(work)
        if say_here:
            self._say_here()

    def _begin(self, work: Work) -> None:
        def run() -> None:
            answer = self._answer(work)
            self._give(lambda: self._say(self._dispatcher.done(work, answer)))

        self._todo.put(run)

    def _answer(self, work: Work) -> str:
        try:
            match work:
                case Fetch():
                    return self._fetch(work)
                case Save():
                    return self._save(work)
                case Boom():
                    return self._boom(work)
                case Admit():
                    return self._admit(work)
        except (SpawngridError, OSError) as error:
            log.warning("%s: %s", work, error)
            return f"failed {work.request} {_one_line(str(error))}"
        except Exception:
            log.exception("%s: unexpected error", work)
            return f"failed {work.request} unexpected error on {self._config.name}"

    def _fetch(self, fetch: Fetch) -> str:
        fault("cpusvc.before-start")
        self._admitted.keep(Admission(fetch.id, fetch.alias, ((fetch.user, fetch.key),)))
        try:
            fault("cpusvc.admitted")
            environment = self._environments.start(spec_of(fetch, self._config.store))
            fault("cpusvc.started")
        except BaseException:
            self._admitted.remove(fetch.id)
            raise
        with self._ids_lock:
            self._ids[fetch.id] = environment.id
        return f"ready {fetch.id}"

    def _save(self, save: Save) -> str:
        fault("cpusvc.before-save")
        saved = self._environments.save(self._id_of(save.environment))
        fault("cpusvc.saved")
        pause = round(saved.pause_seconds * 1000)
        frozen = "" if saved.frozen else " frozen=0"
        return f"saved {save.request} {saved.score} pause={pause}{frozen}"

    def _boom(self, boom: Boom) -> str:
        fault("cpusvc.before-stop")
        try:
            self._environments.stop(self._id_of(boom.environment))
        except NoSuchEnvironment:
            log.info("%s: there was none", boom.environment)
        fault("cpusvc.stopped")
        self._admitted.remove(boom.environment)
        with self._ids_lock:
            self._ids.pop(boom.environment, None)
        return f"boomed {boom.environment}"

    def _admit(self, admit: Admit) -> str:
        if not self._admitted.add(admit.environment, admit.user, admit.key):
            raise NoSuchEnvironment(f"{admit.environment}: no such environment here")
        return f"admitted {admit.request}"

    def _id_of(self, request_id: str) -> str:
        with self._ids_lock:
            known = self._ids.get(request_id)
        if known is not None:
            return known
        self._states()
        with self._ids_lock:
            if request_id not in self._ids:
                raise NoSuchEnvironment(f"{request_id}: no such environment here")
            return self._ids[request_id]

    def _states(self) -> dict[str, str]:
        """Return what runs here, by the id of the request that spawned it."""
        found = self._environments.all()
        with self._ids_lock:
            self._ids.update({e.spec.name: e.id for e in found})
        return {e.spec.name: e.state for e in found if e.state in ("running", "ended", "stopping")}

    def _look(self) -> None:
        self._looking = True
        begun = self._dispatcher.step()

        def look() -> None:
            try:
                states: dict[str, str] | None = self._states()
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


def spec_of(fetch: Fetch, store: str) -> Spec:
    """Return what is to be started."""
    options = fetch.options
    plain = Limits()
    limits = Limits(
        int(options.get("memory", plain.memory_bytes)),
        float(options.get("cpus", plain.cpus)),
        int(options.get("pids", plain.pids)),
    )
    size = options.get("disk") or options.get("ram")
    network = options.get("network", "none")
    return Spec(
        name=fetch.id,
        user=fetch.user,
        score=fetch.score,
        store=store,
        scratch_bytes=int(size) if size else 100 << 20,
        scratch_on_disk="disk" in options,
        limits=None if options.get("limits") == "none" else limits,
        network="host" if network == "host" else "nat" if network == "nat" else "none",
        hostname=_hostname(fetch.alias),
    )


def memory_bytes() -> tuple[int, int]:
    """Return the memory of this machine that is free for use, and all of it."""
    found = {}
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) * _UNIT
    return found["MemAvailable"], found["MemTotal"]


def _hostname(alias: str) -> str:
    return (
        "".join(c if c.isascii() and c.isalnum() else "-" for c in alias).strip("-")[:63] or "grid"
    )


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:500]
