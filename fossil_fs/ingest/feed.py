"""Finished blocks on their way into a store, from a thread of its own and boundedly behind.

Whoever makes blocks has a `Sink` of its own; full sinks queue up for the one thread that calls
`put_many`, where compression and the disk are waited for. The queue is bounded, so a slow store
slows the makers down. Blocks of one sink keep their order; `sync` waits for all sinks' blocks.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, Self

from lib9.waiting import Wait, run_now
from venti_store.interfaces import Block, BlockStore
from venti_store.kind import Kind
from venti_store.score import Buffer, Family, Score

BATCH_BYTES: Final = 4 << 20  # handed over together: enough to make a call's cost vanish
BATCH_BLOCKS: Final = 1024
BACKLOG: Final = 4  # batches waiting; with the one being written, the memory this holds


@dataclass(slots=True)
class Fed:
    """What was put into the store so far, known to it or not; bytes before compression."""

    blocks: int = 0
    size: int = 0

    def add(self, other: "Fed") -> None:
        self.blocks += other.blocks
        self.size += other.size


class Way(Protocol):
    """Where a sink's blocks go."""

    family: Family

    def pass_on(self, blocks: list[Block]) -> None: ...


class Sink:
    """A BlockSink that passes its blocks on by the batch; to be used by one thread."""

    def __init__(self, way: Way, batch_bytes: int = BATCH_BYTES) -> None:
        self.family = way.family
        self._digest = way.family.digest
        self._way = way
        self._batch_bytes = batch_bytes
        self._blocks: list[Block] = []
        self._size = 0

    def put(self, kind: Kind, data: Buffer) -> Score:
        if not data:
            return self.family.nothing
        score = Score(self._digest(data))
        self._blocks.append(Block(score, kind, data))
        self._size += len(data)
        if self._size >= self._batch_bytes or len(self._blocks) >= BATCH_BLOCKS:
            self.flush()
        return score

    def flush(self) -> None:
        """Pass on what is collected; may wait for room."""
        if self._blocks:
            blocks, self._blocks, self._size = self._blocks, [], 0
            self._way.pass_on(blocks)


class Intake:
    """Puts blocks into a store at once and counts them; what `Sink`s need, without a thread."""

    def __init__(self, store: BlockStore, wait: Wait = run_now) -> None:
        self.family = store.family
        self.fed = Fed()
        self._store = store
        self._wait = wait

    def pass_on(self, blocks: list[Block]) -> None:
        """Put `blocks`. Known ones too: the store may find its own copy of one damaged."""
        self._wait(self._store.put_many(blocks))
        self.fed.blocks += len(blocks)
        self.fed.size += sum(len(block.data) for block in blocks)

    def sync(self) -> None:
        """Return when everything passed on so far is on stable storage."""
        self._wait(self._store.sync())


class Feed:
    """An intake with a thread that waits for the store; a context manager, which ends the thread."""

    def __init__(self, intake: Intake) -> None:
        self.family = intake.family
        self._intake = intake
        self._queue: queue.Queue[list[Block] | Callable[[], None] | None] = queue.Queue(BACKLOG)
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._queue.put(None)
        self._thread.join()

    def pass_on(self, blocks: list[Block]) -> None:
        """Queue `blocks`; they are the feed's from now on. Raises what the store raised earlier."""
        self._raise()
        self._queue.put(blocks)

    def sync(self) -> None:
        """Return when everything passed on so far is on stable storage."""
        done = threading.Event()
        self._queue.put(done.set)
        done.wait()
        self._raise()
        self._intake.sync()

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if callable(item):
                item()
            elif self._failed is None:
                try:
                    self._intake.pass_on(item)
                except BaseException as error:  # noqa: BLE001 - raised again where blocks are made
                    self._failed = error
