"""Reading and writing hubs with waiting: who reads at the end sleeps, who writes wakes them.

The one place where hubs meet time; the mount and the network service both stand on it.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import trio
from trio.lowlevel import ParkingLot

from hubfs.ctl import Effects
from hubfs.hub import Hub, Reader
from hubfs.limit import HOLD_NS_MAX
from hubfs.namespace import Node

_FOREVER_NS = 1 << 62


class Flow:
    """The waiters of every hub of one mount; at most as many as its readers and its requests."""

    def __init__(self) -> None:
        self._readers: defaultdict[Node, ParkingLot] = defaultdict(ParkingLot)
        self._writers: defaultdict[Node, ParkingLot] = defaultdict(ParkingLot)
        self._pollers: defaultdict[Node, dict[Reader, Callable[[], None]]] = defaultdict(dict)

    async def read(self, node: Node, reader: Reader, size: int) -> bytes:
        """Return the next bytes for `reader`; waits while there are none. b"" is end of file."""
        hub = hub_of(node)
        while (data := hub.read(reader, size)) is None:
            await self.until_ready(node, reader)
        if hub.fear:
            self._wake(self._writers, node)
        return data

    async def until_ready(self, node: Node, reader: Reader) -> None:
        """Return when a read would not wait."""
        hub = hub_of(node)
        while not hub.ready(reader):
            reader.waiting = True
            try:
                await self._readers[node].park()
            finally:
                reader.waiting = False

    async def write(
        self,
        node: Node,
        data: bytes | bytearray | memoryview,
        *,
        patient: bool = False,
        stored: Callable[[], None] | None = None,
    ) -> int:
        """Store `data` and wake who waits for it; MessageTooLarge.

        Fear holds the write before it is stored, a rate limit holds its answer after; together
        `HOLD_NS_MAX` at most, since a waiting write stalls every writer of its hub. A `patient`
        writer has nobody behind it and waits for as long as it takes. `stored` is called in the step
        that stores the bytes.
        """
        hub = hub_of(node)
        hold_ns = _FOREVER_NS if patient else HOLD_NS_MAX
        if hub.fear and hub.holds_writers():
            data = bytes(data)  # the kernel's buffer is ours until the first wait only
            begun = time.monotonic_ns()
            with trio.move_on_after(hold_ns / 1e9):
                while hub.holds_writers() and not hub.closed:
                    await self._writers[node].park()
            hold_ns -= time.monotonic_ns() - begun
        size = hub.write(data)
        if stored is not None:
            stored()
        self.wake(node)
        if node.limiter is not None:
            hold_ns = node.limiter.hold_ns(size, time.monotonic_ns(), most_ns=max(hold_ns, 0))
            if hold_ns > 0:
                with trio.CancelScope(shield=not patient):  # it is stored: the writer must know
                    await trio.sleep(hold_ns / 1e9)
        return size

    def poll(self, node: Node, reader: Reader | None, notify: Callable[[], None] | None) -> bool:
        """Tell whether a read would not wait; else call `notify` once when it may not."""
        if reader is None or hub_of(node).ready(reader):
            return True
        if notify is not None:
            self._pollers[node][reader] = notify
            reader.waiting = True
        return False

    def detach(self, node: Node, reader: Reader) -> None:
        """The reader is gone: nothing waits for it any more."""
        hub = hub_of(node)
        hub.detach(reader)
        if node in self._pollers:
            self._pollers[node].pop(reader, None)
        self._wake(self._writers, node)
        if not hub.readers:
            self._readers.pop(node, None)
            self._pollers.pop(node, None)
            if hub.closed:
                self._writers.pop(node, None)

    def wake(self, node: Node) -> None:
        """Let everything that waits for this hub's readers look again."""
        self._wake(self._readers, node)
        if self._pollers.get(node):
            for reader, notify in self._pollers.pop(node).items():
                reader.waiting = False
                notify()

    def wake_writers(self, node: Node) -> None:
        """A reader has read: writers that fear holds look again."""
        self._wake(self._writers, node)

    def apply(self, effects: Effects) -> None:
        """Wake whom a control command concerns."""
        for node in effects.changed:
            self.wake(node)
            self._wake(self._writers, node)

    def end_all(self, nodes: Iterable[Node]) -> None:
        """Give every reader end of file: the mount goes away."""
        for node in nodes:
            hub_of(node).close()
            self.wake(node)
            self._wake(self._writers, node)

    @staticmethod
    def _wake(lots: dict[Node, ParkingLot], node: Node) -> None:
        lot = lots.get(node)
        if lot is not None:
            lot.unpark_all()


def hub_of(node: Node) -> Hub:
    """Return the hub of a node that has one."""
    assert node.hub is not None
    return node.hub
