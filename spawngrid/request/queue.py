r"""The requests that a node was asked and has not answered yet, and the answers, as files.

    queued/ID     request=ID user=NAME time=SECONDS mark=HEX
                      word=WORD word=...
    answers/ID    a tab before each line that is said; the last line: `done`, or `failed STATUS TEXT`
    done/ID       the file that was in queued/

Whoever answers appends to answers/ID and then moves queued/ID to done/ID: two steps a script can do.
Ids sort by time, so a listing is the queue. A request is on stable storage before its user is told
its id; killed anywhere, it is either queued or done.
"""

import os
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lib9.errors import Exit
from lib9.faults import fault
from lib9.places import private_directory
from spawngrid import files
from spawngrid.errors import NoSuchRequest, RequestFailed
from spawngrid.request.ids import is_id, new_id

DONE_MAX: Final = 200  # answered requests of one user that are kept, for who asks again
QUEUED_MAX: Final = 64  # of one user: more is refused
ANSWER_SIZE_MAX: Final = 16 << 20  # bytes of one answer


@dataclass(frozen=True, slots=True)
class Request:
    """What `user`, known by the channel, wants. `mark` is the client's own name for it."""

    id: str
    user: str
    words: tuple[str, ...]
    time: int = 0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said so far. `status` None: there is more to come."""

    lines: tuple[str, ...]
    status: int | None = None
    text: str = ""


class Queue:
    """The queue in one folder. One process adds, one answers."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        for name in ("queued", "answers", "done"):
            private_directory(os.path.join(folder, name))
        known = [*self._names("queued"), *self._names("done")]
        self._latest = max(known, default="")
        self._marks: dict[tuple[str, str], str] = {}
        self._of: defaultdict[str, deque[str]] = defaultdict(deque)  # user → ids, oldest first
        for request in map(self.find, sorted(known)):
            if request is not None:
                self._of[request.user].append(request.id)
                if request.mark:
                    self._marks[request.user, request.mark] = request.id

    def add(
        self, user: str, words: tuple[str, ...], mark: str, now_ns: Callable[[], int] = time.time_ns
    ) -> Request:
        """Keep a request and return it; the one there is, if it was `asked` before.

        RequestFailed when QUEUED_MAX of this user wait already.
        """
        if (found := self.asked(user, words, mark)) is not None:
            return found
        if sum(1 for request in self.queued() if request.user == user) >= QUEUED_MAX:
            raise RequestFailed(f"{QUEUED_MAX} requests of yours wait already", Exit.FAILED)
        luck = int.from_bytes(os.urandom(4), "big")
        self._latest = new_id(now_ns(), luck, self._latest)
        request = Request(self._latest, user, words, now_ns() // 1_000_000_000, mark)
        fault("queue.before-add")
        files.replace(self._path("queued", request.id), _record(request))
        fault("queue.added")
        if mark:
            self._marks[user, mark] = request.id
        self._of[user].append(request.id)
        self._forget_old(user)
        return request

    def asked(self, user: str, words: tuple[str, ...], mark: str) -> Request | None:
        """Return the request to which this user gave this mark before.

        RequestFailed if it was for other words.
        """
        known = self._marks.get((user, mark)) if mark else None
        found = self.find(known) if known is not None else None
        if found is not None and found.words != words:
            raise RequestFailed("a mark that was used for another request", Exit.USAGE)
        return found

    def queued(self) -> list[Request]:
        """Return what waits, oldest first."""
        found = (self.find(name) for name in self._names("queued"))
        return [request for request in found if request is not None]

    def find(self, request_id: str) -> Request | None:
        """Return the request of this id, whether it is answered or not."""
        for place in ("queued", "done"):
            record = files.read_record(self._path(place, request_id))
            if record is not None:
                return Request(
                    record.need("request"),
                    record.need("user"),
                    tuple(record.all("word")),
                    int(record.get("time") or 0),
                    record.get("mark") or "",
                )
        return None

    def say(self, request_id: str, *lines: str) -> None:
        """Add lines to an answer."""
        self._append(request_id, "".join(f"\t{line}\n" for line in lines))

    def end(self, request_id: str, status: int = 0, text: str = "") -> None:
        """Complete an answer, on stable storage at return. What was answered already stays so."""
        if not os.path.exists(self._path("queued", request_id)):
            return
        self._append(request_id, f"failed {status} {text}\n" if status else "done\n", sync=True)
        fault("queue.answered")
        files.move(self._path("queued", request_id), self._path("done", request_id))

    def restart(self, request_id: str) -> None:
        """Forget what was said of a request that is answered anew."""
        files.remove(self._path("answers", request_id))

    def answer(self, request_id: str, after: int = 0) -> Answer:
        """Return the lines of an answer behind the first `after`; NoSuchRequest."""
        if not is_id(request_id):
            raise NoSuchRequest(f"{request_id[:40]!r}: no id")
        if self.find(request_id) is None:
            raise NoSuchRequest(f"{request_id}: no such request")
        done = os.path.exists(self._path("done", request_id))
        try:
            with open(self._path("answers", request_id), encoding="utf-8") as file:
                lines = file.read(ANSWER_SIZE_MAX).split("\n")[:-1]
        except FileNotFoundError:
            lines = []
        said = tuple(line[1:] for line in lines if line.startswith("\t"))[after:]
        if not done:
            return Answer(said)
        last = lines[-1] if lines else "failed 1 the answer is lost"
        if last == "done":
            return Answer(said, 0)
        word, _, rest = last.partition(" ")
        status, _, text = rest.partition(" ")
        if word != "failed" or not status.isdigit():
            return Answer(said, int(Exit.FAILED), last.strip())
        return Answer(said, int(status), text)

    def _append(self, request_id: str, text: str, *, sync: bool = False) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path("answers", request_id), flags, 0o600)
        try:
            os.write(descriptor, text.encode())
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _names(self, place: str) -> list[str]:
        return [name for name in files.names_in(os.path.join(self.folder, place)) if is_id(name)]

    def _path(self, place: str, request_id: str) -> str:
        return os.path.join(self.folder, place, request_id)

    def _forget_old(self, user: str) -> None:
        """Remove what this user was answered long ago; who asks much makes nobody else's go."""
        mine = self._of[user]
        while len(mine) > DONE_MAX and not os.path.exists(self._path("queued", mine[0])):
            if (old := self.find(mine[0])) is not None:
                self._marks.pop((user, old.mark), None)
            files.remove(self._path("answers", mine[0]))
            files.remove(self._path("done", mine.popleft()))


def _record(request: Request) -> bytes:
    head = [("request", request.id), ("user", request.user), ("time", str(request.time))]
    if request.mark:
        head.append(("mark", request.mark))
    return files.record_of(head, [("word", word) for word in request.words])
