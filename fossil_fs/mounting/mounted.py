"""A mount that runs, as the console's words see it."""

import time
from collections import Counter

import trio

from fossil_fs.control.item import Folder
from fossil_fs.filesystem import FossilFilesystem
from fossil_fs.mounting.begun import BegunSave
from fossil_fs.mounting.control import control_directory
from fossil_fs.mounting.options import Mounting
from fossil_fs.scratch.scratch import Scratch
from lib9.fuse.session import Served
from venti_store.stores.watched import WatchedStore


class Mounted:
    """What a mount consists of. `served`: the engine, before it answers anything."""

    def __init__(
        self,
        mounting: Mounting,
        scratch: Scratch,
        filesystem: FossilFilesystem,
        store: WatchedStore,
    ) -> None:
        self.mounting = mounting
        self.scratch = scratch
        self.filesystem = filesystem
        self.store = store
        self.control: Folder = control_directory()
        self.discard = mounting.read_only
        self.saving = trio.Lock()  # one save at a time; who ends the mount waits for it
        self.begun: BegunSave | None = None
        self.background: trio.Nursery | None = None  # for what outlives a question
        self.over = trio.CancelScope()  # cancelled: the mount ends
        self.started = time.time()
        self.served: Served | None = None
        self.halted_until: float | None = None  # on trio's clock
        self.halt_changed = trio.Event()
        self.askers: Counter[tuple[int, int]] = Counter()  # (pid, uid) connected to the console

    @property
    def engine(self) -> str:
        return "" if self.served is None else self.served.engine

    @property
    def is_halted(self) -> bool:
        return self.served is not None and self.served.gate.closed
