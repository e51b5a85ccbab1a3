"""What a node is, from one record of an ndb file, and where its things lie. Pure but for reading it.

    sys=sto1
        role=storage role=cpu
        listen=noise!*!27034 dial=noise!sto1.example!27034
        home=/var/lib/spawngrid
        spawn-max=5 memory-max=4G ...

`listen` is where this node's one listener is; `dial` is how others reach it. A cpu node that is not
the storage node too has `storage=` with the name of its storage node, whose record is among the peers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from lib9.errors import UsageError
from lib9.sizes import parse_size
from lib9.streams import Dial, parse_dial
from ndbdb.record import Record
from spawngrid import files
from spawngrid.errors import BadConfig, NoSuchNode
from spawngrid.hubtexts.words import check_user_or_node
from spawngrid.settings.rules import Rules

STORAGE: Final = "storage"
CPU: Final = "cpu"
HUBS: Final = ("sto.in", "sto.out", "sto.err", "cpu.in", "cpu.out", "cpu.err")
SERVICES: Final = ("stosvc", "cpusvc")
# what the record of a node may hold; docs/reference/grid.md has this table
ATTRIBUTES: Final = {
    "sys": "the node's name",
    "role": "`storage`, `cpu` or, in two pairs, both",
    "listen": "where its one listener is: `noise!HOST!PORT`, HOST `*` for any",
    "dial": "how others reach it, if not by what it listens on",
    "home": "the directory of all that is kept",
    "run": "the directory of sockets, mounts and running processes (HOME/run)",
    "storage": "the storage node of a cpu node that is not itself one",
    "store": "the address of the store (HOME/venti; of a cpu node, the storage node's)",
    "hash": "the hash of a store that is made: `blake3` (default) or `sha1`",
    "stosvc": "the program that is the dispatcher of a storage node (`stosvc`)",
    "cpusvc": "the program that is the dispatcher of a cpu node (`cpusvc`)",
    "spawn-max": "environments of one user (5)",
    "memory-max": "the largest `memory=` of an environment (4G)",
    "cpus-max": "the largest `cpus=` (4)",
    "pids-max": "the largest `pids=` (4096)",
    "disk-max": "the largest scratch (16G)",
    "network": "networks that may be asked for, a pair each: `none`, `nat`, `host` (none, nat)",
    "unlimited": "`yes`: `--limits none` may be asked for (no)",
}


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node."""

    name: str
    roles: frozenset[str]
    listen: Dial
    dial: str
    home: str
    run: str
    storage: str
    store: str
    hash: str
    stosvc: str
    cpusvc: str
    rules: Rules

    @property
    def is_storage(self) -> bool:
        return STORAGE in self.roles

    @property
    def is_cpu(self) -> bool:
        return CPU in self.roles

    def place(self, *parts: str) -> str:
        """Return a path below the node's home."""
        return os.path.join(self.home, *parts)

    @property
    def key_file(self) -> str:
        return self.place("config", "spawngrid", "key")

    @property
    def peers_file(self) -> str:
        return self.place("config", "spawngrid", "ndb")

    @property
    def gridsvc(self) -> str:
        """Where the hubs of the storage node are mounted here."""
        return os.path.join(self.run, "gridsvc")

    def hub(self, name: str) -> str:
        return os.path.join(self.gridsvc, name)

    def environ(self, environ: dict[str, str]) -> dict[str, str]:
        """Return the environment of this node's processes: all that is theirs lies below its home."""
        places = {
            "XDG_CONFIG_HOME": self.place("config"),
            "XDG_STATE_HOME": self.place("state"),
            "XDG_CACHE_HOME": self.place("cache"),
            "XDG_DATA_HOME": self.place("data"),
            "XDG_RUNTIME_DIR": self.run,
            "venti": self.store,
        }
        return {**environ, **places}


def read_config(path: str) -> NodeConfig:
    """Return the node that the file describes; NoSuchNode, BadConfig."""
    record = files.read_record(path)
    if record is None:
        raise NoSuchNode(f"{path}: no node is described there (grid node init makes one)")
    try:
        return config_of(record)
    except UsageError as error:
        raise BadConfig(f"{path}: {error}") from None


def config_of(record: Record) -> NodeConfig:
    """Return the node that a record describes; UsageError says what is wrong."""
    for pair in record.pairs():
        if pair.attr not in ATTRIBUTES:
            raise UsageError(f"{pair.attr}= says nothing about a node")
    name = check_user_or_node(_need(record, "sys"))
    roles = frozenset(record.all("role"))
    if not roles or not roles <= {STORAGE, CPU}:
        raise UsageError("role= is storage or cpu, or both in two pairs")
    home = os.path.abspath(_need(record, "home"))
    listen = parse_dial(_need(record, "listen"), port="grid")
    if listen.network != "noise":
        raise UsageError(f"listen={listen}: a node listens on noise!HOST!PORT")
    storage = record.get("storage") or (name if STORAGE in roles else "")
    if not storage:
        raise UsageError("a cpu node needs storage=, the name of its storage node")
    return NodeConfig(
        name=name,
        roles=roles,
        listen=listen,
        dial=str(parse_dial(record.get("dial") or str(listen), port="grid")),
        home=home,
        run=os.path.abspath(record.get("run") or os.path.join(home, "run")),
        storage=storage,
        store=record.get("store") or (os.path.join(home, "venti") if STORAGE in roles else ""),
        hash=record.get("hash") or "blake3",
        stosvc=record.get("stosvc") or "stosvc",
        cpusvc=record.get("cpusvc") or "cpusvc",
        rules=_rules(record),
    )


def _rules(record: Record) -> Rules:
    plain = Rules()
    networks = frozenset(record.all("network")) or plain.networks
    if not networks <= {"none", "nat", "host"}:
        raise UsageError("network= is none, nat or host")
    try:
        return Rules(
            spawn_max=int(record.get("spawn-max") or plain.spawn_max),
            memory_max=parse_size(record.get("memory-max") or str(plain.memory_max)),
            cpus_max=float(record.get("cpus-max") or plain.cpus_max),
            pids_max=int(record.get("pids-max") or plain.pids_max),
            disk_max=parse_size(record.get("disk-max") or str(plain.disk_max)),
            networks=networks,
            unlimited=record.get("unlimited") == "yes",
        )
    except ValueError as error:
        raise UsageError(f"not a number: {error}") from None


def _need(record: Record, attr: str) -> str:
    value = record.get(attr)
    if not value:
        raise UsageError(f"{attr}= is missing")
    return value
