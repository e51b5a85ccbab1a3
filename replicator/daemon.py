"""The node's daemon: a link for each peer and way, and a socket that says how they are doing."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import trio

from lib9 import streams
from lib9.errors import SpawngridError
from lib9.sizes import format_count
from replicator import status
from replicator.board import Board
from replicator.console import Console, TooFewReplicas
from replicator.info import InfoFile
from replicator.interfaces import SignerRules
from replicator.judging import Judge
from replicator.link import Link, LinkState, Open
from replicator.peers import PeerNode
from replicator.positions import Direction, MemoryPositions, Positions
from replicator.status import LocalName, NameState
from replicator.waiting import Replicas
from venti_store.interfaces import LogRecord
from venti_store.names.opened import open_book
from venti_store.names.readable import Unreadable, name_records
from venti_store.reach import connector
from venti_store.score import Score
from venti_store.stores.far import SERVICE
from venti_store.stores.lmdb.store import LmdbStore
from venti_store.stores.remote import RemoteStore

DEADLINE_SECONDS: Final = 15.0  # for an answer: a silent cut is noticed in this, and a wait
KEEP_SECONDS: Final = 10.0  # between looks at names that wait: what is on its way needs no mention
TRUST_SECONDS: Final = 5.0  # between looks at whose names are accepted: a person edits a file
NAMES_AT_ONCE: Final = 32  # of our log: 4 ms
NAMES_MAX: Final = 256  # of the last names in our log, that status tells of

log = logging.getLogger("replicate")


class Daemon:
    """Replicates one store of this machine."""

    def __init__(self, store: LmdbStore, info_folder: str, rules: SignerRules) -> None:
        self.store = store
        self.links: list[Link] = []
        self._info_folder = info_folder
        self._rules = rules
        self._judge = Judge(store, rules)
        self._board = Board(self._root_of)
        self._replicas = Replicas(store, self._board)
        self._names: deque[LocalName] = deque(maxlen=NAMES_MAX)
        self._names_count = 0

    async def run(
        self,
        peers: Sequence[PeerNode],
        socket: str,
        started: Callable[[], None],
    ) -> None:
        """Replicate until cancelled."""
        os.makedirs(self._info_folder, exist_ok=True)
        listeners = await streams.listen(streams.Dial("unix", path=socket))
        files: list[InfoFile] = []
        try:
            async with trio.open_nursery() as nursery:
                console = Console(self.status, self._wait)
                nursery.start_soon(partial(trio.serve_listeners, console, listeners))
                nursery.start_soon(self._watch_names)
                nursery.start_soon(self._keep_waiting)
                nursery.start_soon(self._watch_trust)
                for peer in peers:
                    positions = self._positions(peer, files)
                    for link in self._links_to(peer, positions):
                        self.links.append(link)
                        nursery.start_soon(link.run)
                started()
        finally:
            for file in files:
                file.close()

    def status(self) -> dict[str, Any]:
        """Return what `replicate --status --json` prints."""
        now = trio.current_time()
        waiting_count, waiting = status.waiting_names(self.links, self._rules)
        complete = [
            {
                "name": name.label,
                "state": str(NameState.COMPLETE),
                "peer": None,
                "replicas": sorted(self._board.holders(name.record)),
            }
            for name in self._names
        ]
        return {
            "path": self.store.path,
            "store": self.store.store_id,
            "last": self.store.last_number(),
            "links": [status.link_status(link, now) for link in self.links],
            "names_complete": self._names_count,
            "names_waiting": waiting_count,
            "names": waiting + complete,
        }

    def summary(self) -> str:
        """Return one line for a service manager."""
        current = sum(link.status.state is LinkState.CURRENT for link in self.links)
        return f"current: {current} of {format_count(len(self.links), 'link')}"

    def _positions(self, peer: PeerNode, files: list[InfoFile]) -> Positions:
        """Open the peer's file; without it everything is asked for again, and the others go on."""
        path = os.path.join(self._info_folder, f"{peer.name}.info")
        try:
            file = InfoFile.open(path)
            file.set_peer(peer.address)
        except (SpawngridError, OSError) as error:
            log.warning("%s: positions are not kept: %s", peer.name, error)
            return MemoryPositions()
        files.append(file)
        return file

    def _links_to(self, peer: PeerNode, positions: Positions) -> list[Link]:
        open_peer = opener(peer.address, self.store)
        return [
            Link(
                peer.name, way, peer.address, open_peer, self.store, positions, self._judge,
                self._board, accepts=self._rules.accepts,
            )
            for way in peer.ways
        ]  # fmt: skip

    def _root_of(self, data: bytes) -> Score | None:
        try:
            return self._rules(data).root
        except SpawngridError:
            return None

    async def _watch_names(self) -> None:
        """Know the names in our log, and keep the file `scorenames` up to it."""
        number = 0
        while True:
            last, found = self.store.last_number(), 0
            for record in name_records(self.store, number + 1):
                if isinstance(record, Unreadable):
                    log.warning("%s", record.why)
                else:
                    self._note(record)
                last, found = max(last, record.number), found + 1
                if found % NAMES_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()  # each has a signature to be verified
            if found:
                await self._show_names()
            number = last
            await self.store.wait_log(number + 1)

    def _note(self, record: LogRecord) -> None:
        named = status.named_by(record, self._rules)
        if named is None:
            return
        self._names.append(named)
        self._names_count += 1
        if named.root is not None:
            self._judge.note_whole(named.label.rpartition(".")[0], named.root)

    async def _show_names(self) -> None:
        try:
            await open_book(self.store, self.store.path).refresh()
        except (SpawngridError, OSError) as error:
            log.warning("names: %s", error)

    async def _keep_waiting(self) -> None:
        """Keep the names whose blocks nobody has, with what they lack, for `grid names why`."""
        kept: frozenset[bytes] = frozenset()
        while True:
            await trio.sleep(KEEP_SECONDS)
            waiting = frozenset(
                bytes(record.data)
                for link in self.links
                if link.following is not None and link.status.direction is Direction.PULL
                for record, partial in link.following.follower.waiting_names()
                if partial
            )
            if waiting - kept:
                try:
                    await open_book(self.store, self.store.path).take(sorted(waiting - kept))
                except (SpawngridError, OSError) as error:
                    log.warning("names: %s", error)
            kept = waiting

    async def _watch_trust(self) -> None:
        """Have names judged again that were refused for their signer, when he becomes known."""
        while True:
            await trio.sleep(TRUST_SECONDS)
            try:
                for link in self.links:
                    link.judge_again()
            except (SpawngridError, OSError) as error:
                log.warning("%s", error)

    async def _wait(self, score: str, count: int, seconds: float) -> int:
        wanted = self.store.family.parse(score)
        with trio.move_on_after(seconds):
            return await self._replicas.wait(wanted, count)
        held = len(self._board.holders(wanted))
        raise TooFewReplicas(
            f"{score}: at {held} of {format_count(count, 'peer')} after {seconds:g} s"
        )


def opener(address: str, store: LmdbStore) -> Open:
    """Return what connects to a peer; keys are read anew each time."""

    async def open_peer() -> RemoteStore:
        dial = streams.parse_dial(address)
        return await RemoteStore.open(
            address,
            connector(dial, SERVICE),
            store.family,
            deadline_seconds=DEADLINE_SECONDS,
            once=True,
        )

    return open_peer
