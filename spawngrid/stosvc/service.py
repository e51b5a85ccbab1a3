"""stosvc as a process: hubs and files in, effects carried out. One thread, one poll."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from lib9.errors import Exit, SpawngridError
from lib9.faults import fault
from lib9.telling import one_line
from ndbdb.errors import NdbError
from spawngrid import files
from spawngrid.hubtexts.hubs import HubReader, append_line
from spawngrid.request.queue import Queue
from spawngrid.settings.audit import Audit
from spawngrid.settings.config import NodeConfig
from spawngrid.settings.users import Users
from spawngrid.stosvc import effects as to_do
from spawngrid.stosvc.book import Book
from spawngrid.stosvc.dispatch import Dispatcher
from spawngrid.stosvc.grid import Grid
from spawngrid.stosvc.state import Environment, environment_of

log = logging.getLogger("stosvc")

TICK_SECONDS: Final = 1.0
LINE_SIZE_MAX: Final = 1000  # characters of a line of an answer
DIFF_LINES_MAX: Final = 10_000
DIFF_SECONDS_MAX: Final = 300.0
DIFFS_MAX: Final = 4  # at a time; a request beyond waits in the queue


class Service:
    """The dispatcher of one storage node."""

    def __init__(self, config: NodeConfig, book: Book) -> None:
        self._config = config
        self._book = book
        self._users = Users(config.peers_file, config.place("tokens"))
        self._queue = Queue(config.place("requests"))
        self._folder = config.place("environments")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        files.clean(self._folder)
        self._audit = Audit(config.place("log", "audit"))
        self._readers = [HubReader(config.hub(name)) for name in ("sto.in", "cpu.out")]
        self._diffs: dict[str, _Diff] = {}
        known = self._environments()
        self._dispatcher = Dispatcher(
            Grid(book, self._users.key_of, config.rules, known, now=time.monotonic())
        )

    def run(self) -> None:
        """Serve until SIGTERM."""
        told: list[int] = []
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: told.append(number))
        ticked = 0.0
        while not told:
            self._open()
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                self._do(self._dispatcher.tick(now=ticked, time=int(time.time())))
            self._take_requests()
            self._collect_diffs()
            self._wait(wake_read)
            for line in self._readers[1].lines():
                self._do(self._dispatcher.cpu_said(line, now=time.monotonic()))
            self._readers[0].lines()  # what it says is that there is something in the queue

    def _open(self) -> None:
        for reader in self._readers:
            if reader.descriptor < 0 and reader.open() and reader is self._readers[1]:
                # what was said meanwhile is lost: the nodes say it again
                self._do(self._dispatcher.start())

    def _wait(self, wake: int) -> None:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        for reader in self._readers:
            if reader.descriptor >= 0:
                poll.register(reader.descriptor, select.POLLIN)
        for diff in self._diffs.values():
            poll.register(diff.descriptor, select.POLLIN)
        poll.poll(TICK_SECONDS * 1000)

    def _take_requests(self) -> None:
        for request in self._queue.queued():
            if self._dispatcher.knows(request.id) or request.id in self._diffs:
                continue
            if "diff" in request.words[:1] and len(self._diffs) >= DIFFS_MAX:
                continue
            self._queue.restart(request.id)
            fault("stosvc.request-taken")
            self._do(self._dispatcher.request(request, now=time.monotonic(), time=int(time.time())))

    def _do(self, effects: list[to_do.Effect]) -> None:
        """Carry out effects in order; what fails ends its request and those effects behind it."""
        failed: set[str] = set()
        for effect in effects:
            request = getattr(effect, "request", "")
            if request in failed:
                continue
            try:
                self._one(effect)
            except (SpawngridError, NdbError) as error:
                log.warning("request %s: %s", request, error)
                if request:
                    failed.add(request)
                    self._end(to_do.End(request, error.exit_code, str(error)))

    def _one(self, effect: to_do.Effect) -> None:
        match effect:
            case to_do.Say(request, text):
                self._queue.say(request, text)
                self._tell_user(request, text)
            case to_do.End():
                self._end(effect)
            case to_do.Tell(line):
                fault("stosvc.before-tell")
                append_line(self._config.hub("cpu.in"), str(line))
                fault("stosvc.told")
            case to_do.Keep(environment):
                files.replace(self._path(environment.id), environment.to_bytes())
                fault("stosvc.kept")
            case to_do.Forget(environment):
                files.remove(self._path(environment))
                fault("stosvc.forgotten")
            case to_do.Record(_, user, name, score, base):
                fault("stosvc.before-record")
                full = self._book.record(user, name, score, base)
                fault("stosvc.recorded")
                self._audit(user, f"saved {full}")
            case to_do.Share(_, user, other, name, on):
                self._book.share(user, other, name, on=on)
                self._audit(user, f"{'share' if on else 'unshare'} {other} {name}")
            case to_do.Compare(request, old, new):
                self._diffs[request] = _Diff(self._config, old, new)
            case to_do.Announce(text):
                append_line(self._config.hub("sto.out"), text)
            case to_do.Complain(text):
                log.warning("%s", text)
                append_line(self._config.hub("sto.err"), text)

    def _end(self, end: to_do.End) -> None:
        self._queue.end(end.request, int(end.status), one_line(end.text, LINE_SIZE_MAX))
        fault("stosvc.ended")
        text = end.text if end.status else ""
        self._tell_user(end.request, f"failed {int(end.status)} {text}" if text else "done")

    def _tell_user(self, request_id: str, text: str) -> None:
        request = self._queue.find(request_id)
        if request is not None:
            said = one_line(text, LINE_SIZE_MAX)
            append_line(self._config.hub(f"out/{request.user}"), f"{request_id} {said}")

    def _collect_diffs(self) -> None:
        for request, diff in list(self._diffs.items()):
            for line in diff.lines():
                self._queue.say(request, one_line(line, LINE_SIZE_MAX))
            if (status := diff.status()) is not None:
                del self._diffs[request]
                why = "" if status == 0 else diff.complaint()
                exit_status = Exit(status) if status in set(Exit) else Exit.FAILED
                self._end(to_do.End(request, exit_status, why))

    def _environments(self) -> Iterator[Environment]:
        for name in files.names_in(self._folder):
            record = files.read_record(self._path(name))
            try:
                if record is not None:
                    yield environment_of(record)
            except (NdbError, ValueError) as error:
                log.warning("%s: %s", self._path(name), error)

    def _path(self, environment: str) -> str:
        return os.path.join(self._folder, environment)


class _Diff:
    """fossil-diff of two trees, beside everything else."""

    def __init__(self, config: NodeConfig, old: str, new: str) -> None:
        self._process = subprocess.Popen(
            ["fossil-diff", "--store", config.store, old, new],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.descriptor = self._process.stdout.fileno()
        os.set_blocking(self.descriptor, False)
        self._rest = b""
        self._ended = False
        self._count = 0
        self._deadline = time.monotonic() + DIFF_SECONDS_MAX

    def lines(self) -> list[str]:
        """Return what it has said since."""
        out: list[str] = []
        with suppress(BlockingIOError):
            while not self._ended:
                data = os.read(self.descriptor, 64 << 10)
                self._ended = not data
                *whole, self._rest = (self._rest + data).split(b"\n")
                out += [line.decode(errors="backslashreplace") for line in whole]
        self._count += len(out)
        if self._count > DIFF_LINES_MAX or time.monotonic() > self._deadline:
            self._process.kill()
            self._ended = True
        return out

    def status(self) -> int | None:
        """Return its exit status once all was read."""
        return self._process.wait() if self._ended else None

    def complaint(self) -> str:
        if self._count > DIFF_LINES_MAX:
            return f"more than {DIFF_LINES_MAX} differences"
        assert self._process.stderr is not None
        return self._process.stderr.read(2000).decode(errors="replace").strip() or "diff failed"
