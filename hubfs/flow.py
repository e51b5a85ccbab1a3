"""Reading and writing hubs with waiting: who reads at the end sleeps, who writes wakes them.

The one place where hubs meet time; the mount and the network service both stand on it.
"""

import time
from collections.abc import Callable, Iterable

import trio
from trio.lowlevel import ParkingLot

from hubfs.ctl import Effects
from hubfs.hub import Hub, Reader
from hubfs.limit import HOLD_NS_MAX
from hubfs.namespace import Node

POLLERS_MAX = 4096  # select/poll/epoll calls that wait on one hub


class Flow:
    """The waiters of every hub of one mount."""

    def __init__(self) -> None:
        self._readers: dict[Node, ParkingLot] = {}
        self._writers: dict[Node, ParkingLot] = {}
        self._pollers: dict[Node, dict[int, Callable[[], None]]] = {}

    async def read(self, node: Node, reader: Reader, size: int) -> bytes:
        """Return the next bytes for `reader`; waits while there are none. b"" is end of file."""
        hub = hub_of(node)
        while (data := hub.read(reader, size)) is None:
            reader.waiting = True
            try:
                await self._readers.setdefault(node, ParkingLot()).park()
            finally:
                reader.waiting = False
        if hub.fear:
            self._wake(self._writers, node)
        return data

    async def write(self, node: Node, data: bytes | bytearray | memoryview) -> int:
        """Store `data` and wake who waits for it; MessageTooLarge.

        Fear holds the write before it is stored, a rate limit holds its answer after; together
        `HOLD_NS_MAX` at most, since a waiting write stalls every writer of its hub.
        """
        hub = hub_of(node)
        hold_ns = HOLD_NS_MAX
        if hub.fear and hub.holds_writers():
            data = bytes(data)  # the kernel's buffer is ours until the first wait only
            begun = time.monotonic_ns()
            with trio.move_on_after(hold_ns / 1e9):
                while hub.holds_writers():
                    await self._writers.setdefault(node, ParkingLot()).park()
            hold_ns -= time.monotonic_ns() - begun
        size = hub.write(data)
        self.wake(node)
        if node.limiter is not None:
            hold_ns = min(hold_ns, node.limiter.hold_ns(size, time.monotonic_ns()))
            if hold_ns > 0:
                with trio.CancelScope(shield=True):  # it is stored: the writer must be told so
                    await trio.sleep(hold_ns / 1e9)
        return size

    def poll(self, node: Node, reader: Reader | None, notify: Callable[[], None] | None) -> bool:
        """Tell whether a read would not wait; else call `notify` once when it may not."""
        hub = hub_of(node)
        if reader is None or hub.lag(reader) or hub.closed or reader.end_of_file:
            return True
        pollers = self._pollers.setdefault(node, {})
        if notify is not None and len(pollers) < POLLERS_MAX:
            pollers[reader.number] = notify
        return False

    def detach(self, node: Node, reader: Reader) -> None:
        """The reader is gone: nothing waits for it any more."""
        hub = hub_of(node)
        hub.detach(reader)
        self._pollers.get(node, {}).pop(reader.number, None)
        self._wake(self._writers, node)
        if hub.closed and not hub.readers:
            for waiters in (self._readers, self._writers, self._pollers):
                waiters.pop(node, None)

    def wake(self, node: Node) -> None:
        """Let everything that waits on this hub look again."""
        self._wake(self._readers, node)
        pollers = self._pollers.get(node)
        if pollers:
            self._pollers[node] = {}
            for notify in pollers.values():
                notify()

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
