"""Twenty nodes that follow each other while everything breaks, from a seed, in virtual time.

`PYTHONHASHSEED=0 python -m tests.replicator.simulation SEED STEPS` runs one and prints a digest of
what happened, the same for the same seed. After every step:

1. In every log each name stands behind all of its blocks, and nothing is in a name's place that no
   node ever signed.
2. Every block of every store has the bytes of its score, but for those the simulation spoilt itself.
3. What a node acknowledged is in its log until its disk is lost or set back.

At the end all links are mended, what rotted beyond repair gets a new disk, and every name that is
anywhere must come everywhere.
"""

import hashlib
import logging
import random
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import trio
import trio.testing

from lib9.streams import CannotDial
from replicator.board import Board
from replicator.judging import Judge
from replicator.link import Link
from replicator.positions import Direction, MemoryPositions
from tests.replicator.kit import Tree, name_record, rules, tree
from venti_store.interfaces import LogRecord
from venti_store.score import BLAKE3
from venti_store.server import Server
from venti_store.stores.memory import MemoryStore
from venti_store.stores.remote import RemoteStore

NODES = 20
PEERS = 3  # that each node follows
CALM_SECONDS_MAX = 3600  # virtual, to agree at the end
DEADLINE_SECONDS = 20.0
# virtual, between two steps: mostly too short for the last to have had its effects, at times long
# enough for every deadline and back-off; links that only wait are what costs real time
PAUSES = {0.01: 25, 0.1: 25, 1.0: 30, 5.0: 15, 30.0: 5}


class Disk(MemoryStore):
    """A store whose end is lost in a crash, unless it was synced; it may be copied and set back."""

    def __init__(self, store_id: str) -> None:
        super().__init__(store_id=store_id)
        self.durable = 0

    async def sync(self) -> None:
        await trio.sleep(0.002)
        self.durable = len(self._log)

    async def append_names(self, records):
        numbers = await super().append_names(records)
        await self.sync()
        return numbers

    def up_to(self, number: int) -> "Disk":
        """Return the store as it was when its log ended with `number`."""
        older = Disk(self.store_id)
        for key in self._log[:number]:
            older._append(key, self.blocks[key])
        older.durable = number
        return older


class Liar(Disk):
    """Says that it has names, and leaves out the blocks before them; gives bytes that are wrong."""

    def log(self, start=1):
        names = [r for r in super().log() if r.kind is None]
        for number, record in enumerate(names, 1):
            if number >= start:
                yield record._replace(number=number)

    def last_number(self) -> int:
        return sum(kind is None for _, kind in self._log)

    @contextmanager
    def views(self, keys):
        yield [b"lies" for _ in keys]

    async def get_many(self, keys):
        return [b"lies" for _ in keys]

    async def have_many(self, keys):
        return [True for _ in keys]


@dataclass
class Node:
    name: str
    disk: Disk
    peers: list[str]
    positions: MemoryPositions = field(default_factory=MemoryPositions)
    board: Board = field(default_factory=Board)
    links: list[Link] = field(default_factory=list)
    scope: trio.CancelScope | None = None
    ended: trio.Event | None = None
    copies: list[int] = field(default_factory=list)  # numbers that backups end with
    acknowledged: set[bytes] = field(default_factory=set)
    checked: int = 0  # entries of the log that were looked at
    names: set[bytes] = field(default_factory=set)  # that are among them
    spoilt: set = field(default_factory=set)
    lies: bool = False


class Simulation:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.trees: dict[bytes, set] = {}  # root → keys of its blocks
        self.signed: set[bytes] = set()
        self.files: dict[str, int] = {}
        self.serial = 0
        self.cut: set[frozenset[str]] = set()
        self.streams: dict[frozenset[str], list] = {}
        self.digest = hashlib.sha256()
        self.counts = {"saves": 0, "rescans": 0, "refused": 0}
        names = [f"n{i}" for i in range(NODES)]
        self.nodes: dict[str, Node] = {}
        for i, name in enumerate(names):
            # a ring, so that all can reach all, and some others
            others = [n for n in names if n != name and n != names[i - 1]]
            peers = [names[i - 1], *self.chance.sample(others, PEERS - 1)]
            self.nodes[name] = Node(name, Disk(f"{name}.0"), peers)

    # running

    async def run(self, steps: int) -> None:
        async with trio.open_nursery() as self.nursery:
            for node in self.nodes.values():
                await self.boot(node)
            for step in range(steps):
                what = self.choose()
                detail = await what()
                self.note(f"{step} {what.__name__} {detail}")
                await trio.sleep(self.chance.choices(list(PAUSES), list(PAUSES.values()))[0])
                self.check()
            await self.calm()
            for node in self.nodes.values():
                await self.halt(node)
            self.nursery.cancel_scope.cancel()

    def note(self, text: str) -> None:
        state = " ".join(f"{n.disk.last_number()}" for n in self.nodes.values())
        self.digest.update(f"{text} {trio.current_time():.3f} {state}\n".encode())

    def choose(self):
        chances = {
            self.save: 40, self.cut_link: 10, self.mend_link: 12, self.partition: 2, self.mend_all: 3,
            self.crash: 8, self.back_up: 6, self.set_back: 3, self.lose_disk: 2, self.spoil: 5,
            self.lie: 1, self.mislead: 2,
        }  # fmt: skip
        return self.chance.choices(list(chances), list(chances.values()))[0]

    def any_node(self) -> Node:
        return self.chance.choice([n for n in self.nodes.values() if not n.lies])

    async def boot(self, node: Node) -> None:
        node.board, node.ended = Board(), trio.Event()
        server = Server(node.disk)
        judge = Judge(node.disk, rules)
        chance = random.Random(self.chance.random()).random
        started = trio.Event()

        async def live() -> None:
            with trio.CancelScope() as node.scope:
                async with trio.open_nursery() as node.nursery:
                    node.server = server
                    node.links = []
                    if not node.lies:
                        for n, peer in enumerate(node.peers):
                            direction = Direction.PUSH if n == 2 else Direction.PULL
                            link = Link(
                                peer, direction, peer, partial(self.dial, node.name, peer),
                                node.disk, node.positions, judge, node.board, chance=chance,
                            )  # fmt: skip
                            node.links.append(link)
                            node.nursery.start_soon(link.run)
                    started.set()
                    await trio.sleep_forever()
            node.ended.set()

        self.nursery.start_soon(live)
        await started.wait()

    async def halt(self, node: Node) -> None:
        for pair, streams in self.streams.items():
            if node.name in pair:
                await self.break_off(streams)
        self.counts["rescans"] += sum(link.status.rescans for link in node.links)
        self.counts["refused"] += sum(link.status.refused for link in node.links)
        node.scope.cancel()
        await node.ended.wait()

    async def dial(self, here: str, there: str) -> RemoteStore:
        async def connect():
            await trio.sleep(0.02)
            pair = frozenset((here, there))
            if pair in self.cut:
                raise CannotDial(f"{there}: cut off")
            ours, theirs = trio.testing.memory_stream_pair()
            self.streams.setdefault(pair, []).append(ours)
            peer = self.nodes[there]
            peer.nursery.start_soon(peer.server.converse, theirs)
            return ours

        return await RemoteStore.open(there, connect, deadline_seconds=DEADLINE_SECONDS, once=True)

    async def break_off(self, streams) -> None:
        for stream in streams:
            await trio.aclose_forcefully(stream)
        streams.clear()

    # what may happen

    async def save(self):
        node = self.any_node()
        self.serial += 1
        line = self.chance.choice(["usr", "sys", "web", node.name])
        made = self.make(line)
        record = name_record(f"{line}.{self.serial}", made.root)
        self.signed.add(record)
        self.counts["saves"] += 1
        await node.disk.put_many(made.blocks)
        if self.chance.random() < 0.1:
            return "unfinished"
        await node.disk.sync()
        await node.disk.append_name(record)
        node.acknowledged.add(record)
        return f"{node.name} {line}"

    def make(self, line: str) -> Tree:
        """A tree in which one file is new, and the others are those of the last of this line."""
        at = self.files[line] = self.files.get(line, 0) + 1
        made = tree((line, at // 3), files=2 + at % 3, size=600)
        self.trees[made.root] = {(b.score, b.kind) for b in made.blocks}
        return made

    async def cut_link(self):
        a = self.any_node()
        pair = frozenset((a.name, self.chance.choice(a.peers)))
        self.cut.add(pair)
        if self.chance.random() < 0.7:  # else those who are connected stay so
            await self.break_off(self.streams.get(pair, []))
        return sorted(pair)

    async def mend_link(self):
        if self.cut:
            self.cut.discard(self.chance.choice(sorted(self.cut, key=sorted)))
        return len(self.cut)

    async def partition(self):
        side = set(self.chance.sample(sorted(self.nodes), NODES // 2))
        for a in side:
            for b in set(self.nodes) - side:
                self.cut.add(frozenset((a, b)))
        for pair, streams in self.streams.items():
            if pair in self.cut:
                await self.break_off(streams)
        return sorted(side)

    async def mend_all(self):
        self.cut.clear()

    async def crash(self):
        """A node loses its power: what was not synced may be gone, and positions stay behind."""
        node = self.any_node()
        await self.halt(node)
        disk = node.disk
        keep = self.chance.randint(disk.durable, disk.last_number())
        self.replace_disk(node, disk.up_to(keep))
        await self.boot(node)
        return f"{node.name} {keep}"

    async def back_up(self):
        node = self.any_node()
        node.copies.append(node.disk.durable)
        return node.name

    async def set_back(self):
        """A node's store is an older copy; what it knew of its peers is newer, or as old, or lost."""
        node = self.any_node()
        if not node.copies:
            return "no copy"
        await self.halt(node)
        number = min(self.chance.choice(node.copies), node.disk.last_number())
        node.copies = [n for n in node.copies if n <= number]
        self.replace_disk(node, node.disk.up_to(number))
        if self.chance.random() < 0.3:
            node.positions = MemoryPositions()
        await self.boot(node)
        return f"{node.name} {number}"

    async def lose_disk(self):
        node = self.any_node()
        await self.begin_anew(node)
        return node.name

    async def begin_anew(self, node: Node) -> None:
        await self.halt(node)
        self.serial += 1
        self.replace_disk(node, Disk(f"{node.name}.{self.serial}"))
        node.copies.clear()
        await self.boot(node)

    def replace_disk(self, node: Node, disk: Disk) -> None:
        node.disk = disk
        node.checked = 0
        node.names = set()
        left = set(disk.blocks.values())
        node.acknowledged = {r for r in node.acknowledged if r in left}
        node.spoilt = {key for key in node.spoilt if key in disk.blocks}

    async def spoil(self):
        """A block rots on a disk."""
        node = self.any_node()
        keys = [key for key in node.disk._log if key[1] is not None]
        if not keys:
            return "empty"
        key = self.chance.choice(keys)
        node.disk.blocks[key] = b"rot"
        node.spoilt.add(key)
        return node.name

    async def lie(self):
        """A node begins to lie, or all that do stop."""
        liars = [n for n in self.nodes.values() if n.lies]
        for node in liars:
            await self.halt(node)
            node.lies = False
            self.serial += 1
            self.replace_disk(node, Disk(f"{node.name}.{self.serial}"))
            await self.boot(node)
        if liars:
            return "no more"
        node = self.any_node()
        await self.halt(node)
        node.lies = True
        liar = Liar(f"{node.name}.lies")
        for key in node.disk._log:
            if key[1] is None:
                liar._append(key, node.disk.blocks[key])
        self.replace_disk(node, liar)
        node.copies.clear()
        await self.boot(node)
        return node.name

    async def mislead(self):
        """A liar makes up a name: a root that nobody can have, or one that nobody signed."""
        for node in self.nodes.values():
            if node.lies:
                self.serial += 1
                ghost = tree(("ghost", self.serial))
                self.trees[ghost.root] = {(b.score, b.kind) for b in ghost.blocks}
                record = name_record(f"usr.{self.serial}", ghost.root)
                self.signed.add(record)
                bad = name_record(f"bad.{self.serial}", ghost.root)
                await node.disk.append_names([bad, record])

    # what must be so

    def check(self) -> None:
        for node in self.nodes.values():
            if not node.lies:
                self.check_node(node)

    def check_node(self, node: Node) -> None:
        disk = node.disk
        for key in disk._log[node.checked :]:
            data = disk.blocks[key]
            if key[1] is None:
                node.names.add(data)
                assert data in self.signed, f"{node.name}: nobody signed {data!r}"
                root = rules(data).root
                number = disk._numbers[key]
                for block in self.trees[root]:
                    there = disk._numbers.get(block)
                    assert there and there < number, f"{node.name}: {data!r} before its blocks"
            elif key not in node.spoilt:
                assert BLAKE3.score(data) == key[0], f"{node.name}: not verified"
        node.checked = disk.last_number()
        for key in set(node.spoilt):
            if BLAKE3.score(disk.blocks[key]) == key[0]:
                node.spoilt.discard(key)
        assert node.acknowledged <= node.names, f"{node.name}: acknowledged, and gone"

    async def calm(self) -> None:
        """Mend everything; all must agree."""
        for node in self.nodes.values():
            if node.lies:
                await self.lie()
        self.cut.clear()
        for node in self.nodes.values():
            self.repair(node)
        for node in self.nodes.values():
            if node.spoilt:  # the last copy: no name behind it can ever go on from there
                await self.begin_anew(node)
        ended = trio.current_time() + CALM_SECONDS_MAX
        while True:
            self.check()
            names = [frozenset(node.names) for node in self.nodes.values()]
            wanted = frozenset().union(*names)
            if all(n == wanted for n in names):
                break
            assert trio.current_time() < ended, self.disagreement(wanted)
            await trio.sleep(10)
        self.note(f"agreed on {len(wanted)}")

    def repair(self, node: Node) -> None:
        """Mend the blocks of a disk that somebody else still has."""
        for key in sorted(node.spoilt, key=repr):
            for other in self.nodes.values():
                data = other.disk.blocks.get(key)
                if data is not None and BLAKE3.score(data) == key[0]:
                    node.disk.blocks[key] = data
                    node.spoilt.discard(key)

    def disagreement(self, wanted) -> str:
        out = []
        for node in self.nodes.values():
            here = set(node.disk.blocks.values())
            missing = sorted(name for name in wanted if name not in here)
            if missing:
                states = [
                    (k.status, k.following and k.following.follower.holes[:3]) for k in node.links
                ]
                out.append(f"{node.name} lacks {missing[:3]}, its links: {states}")
        return "\n".join(out)


class _Unexpected(logging.Handler):
    """Faults that a link or a server only logs, since it must go on, end the simulation."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            raise AssertionError(record.getMessage()) from record.exc_info[1]


def simulate(seed: int, steps: int) -> str:
    """Run one simulation and return the digest of what happened."""
    from trio._core import _run

    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    _run._r.seed(seed)
    random.seed(seed)
    logging.getLogger().handlers[:] = [_Unexpected()]
    simulation = Simulation(seed)
    trio.run(simulation.run, steps, clock=trio.testing.MockClock(autojump_threshold=0))
    return f"{simulation.digest.hexdigest()} {simulation.counts}"


__all__ = ["LogRecord", "simulate"]

if __name__ == "__main__":
    print(simulate(int(sys.argv[1]), int(sys.argv[2])))
