"""Reading in processes of their own, each with its own opening of a store on this machine.

Python runs one thread at a time, and small files are mostly Python; so both cores are used only by
processes. They are started when there is enough to read to be worth it; the first files are read
right here. Requests and answers of one worker are in one order. What a worker cannot do for the
store's sake ends the run.
"""

import pickle
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from fossil_fs.ingest.exchange import FAILED, READ, START, SYNC, chunk_of, receive, send
from fossil_fs.ingest.feed import Fed, Way
from fossil_fs.ingest.files import Chunk
from fossil_fs.ingest.readers import (
    WAITING_PER_READER,
    OpenDirectory,
    ThreadReaders,
    chunks,
)
from fossil_fs.ingest.scan import Found
from lib9.errors import SpawngridError
from venti_store.score import Family

START_FILES: Final = 256  # a worker takes a tenth of a second to start
START_BYTES: Final = 16 << 20
_PROGRAM: Final = "from fossil_fs.ingest.worker import main; main()"
_END_SECONDS: Final = 10.0


class WorkerLost(SpawngridError):
    """A process that was reading files ended, killed or out of memory."""


class ProcessReaders:
    """Readers in `count` processes, for a store at `address` that each can open."""

    def __init__(self, way: Way, address: str, family: Family, dsize: int, count: int) -> None:
        self._here = ThreadReaders(way, dsize, 0)
        self._start = (START, address, family.name, dsize)
        self._count = count
        self._workers: list[_Worker] = []
        self._files = self._bytes = 0

    def submit(
        self, directory: OpenDirectory, path: bytes, found: Sequence[Found]
    ) -> list["Future[Chunk]"]:
        self._files += len(found)
        self._bytes += sum(item.stat.st_size for item in found)
        if self._files < START_FILES and self._bytes < START_BYTES:
            return self._here.submit(directory, path, found)
        if not self._workers:
            self._workers = [_Worker(self._start) for _ in range(self._count)]
        jobs = []
        for part in chunks(found):
            worker = min(self._workers, key=_Worker.load)
            jobs.append(worker.read(directory, path, [item.name for item in part]))
        return jobs

    def sync(self) -> Fed:
        fed = self._here.sync()
        for counts in [worker.sync() for worker in self._workers]:
            fed.add(counts.result())
        return fed

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._here.close()


class _Worker:
    """One process, and the thread that takes its answers."""

    def __init__(self, start: tuple[Any, ...]) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            # -P: no module is taken from the directory that happens to be the current one
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM], stdin=theirs.fileno(), close_fds=True
            )
        self._waiting: deque[Future[Any]] = deque()
        self._room = threading.Semaphore(WAITING_PER_READER)
        self._lost: BaseException | None = None
        self._lock = threading.Lock()  # of the two above
        self._thread = threading.Thread(target=self._take_answers, name="answers", daemon=True)
        self._thread.start()
        self._send(start)

    def load(self) -> int:
        return len(self._waiting)

    def read(self, directory: OpenDirectory, path: bytes, names: list[bytes]) -> "Future[Chunk]":
        if self._lost is None:
            self._room.acquire()
        return self._ask((READ, path, names), directory.fd)

    def sync(self) -> "Future[Fed]":
        return self._ask((SYNC,), None)

    def close(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, message: tuple[Any, ...], fd: int | None) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._lock:
            if self._lost is not None:
                future.set_exception(self._lost)
                return future
            self._waiting.append(future)
        self._send(message, fd)
        return future

    def _send(self, message: tuple[Any, ...], fd: int | None = None) -> None:
        try:
            send(self._connection, message, fd)
        except (BrokenPipeError, ConnectionResetError):
            self._thread.join()  # it knows why, and tells all that wait

    def _take_answers(self) -> None:
        lost: BaseException = WorkerLost("a process that was reading files ended")
        try:
            while (received := receive(self._connection)) is not None:
                message = received[0]
                if message[0] == FAILED:
                    lost = pickle.loads(message[1])
                    break
                future = self._waiting.popleft()
                if message[0] == SYNC:
                    future.set_result(Fed(*message[1:]))
                else:
                    self._room.release()
                    future.set_result(chunk_of(message))
        except (EOFError, OSError):
            pass
        with self._lock:
            self._lost = lost
            for future in self._waiting:
                future.set_exception(lost)
                self._room.release()  # who waits for room goes on; a SYNC had taken none
