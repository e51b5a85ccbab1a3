"""The record of an environment: one ndb record, there before anything of the environment is.

It says what was asked for and what was taken (slot, scratch), so that any later process can undo it.
A record is replaced whole, by a rename.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Final, cast

from ndbdb.parser import parse, unparse
from ndbdb.record import Record
from spawngrid.environment.interface import Limits, Network, RuntimeName, Spec, State
from spawngrid.environment.places import Own, Places, is_id

RECORD: Final = "record"
_SIZE_MAX: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of an environment. `slot` gives its ids and its network; pids with start times.

    `runtime`: what makes it, and lets commands join it for as long as it is there.

    A pid alone may be another process by now; with the time that it started (in clock ticks since boot)
    it is that process or none. `shifted`: its file system shifts ids, which the kernel cannot map.
    """

    id: str
    spec: Spec
    slot: int
    runtime: RuntimeName
    state: State = "starting"
    reason: str = ""
    started_s: int = 0
    init_pid: int = 0
    init_start: int = 0
    scratch: str = ""
    shifted: bool = False


def to_record(entry: Entry) -> Record:
    spec, limits = entry.spec, entry.spec.limits
    pairs = [
        ("environment", entry.id),
        ("name", spec.name),
        ("user", spec.user),
        ("score", spec.score),
        ("store", spec.store),
        ("size", str(spec.scratch_bytes)),
        ("disk", str(int(spec.scratch_on_disk))),
        ("network", spec.network),
        ("hostname", spec.hostname),
    ]
    if limits is not None:
        pairs += [
            ("memory", str(limits.memory_bytes)),
            ("cpus", repr(limits.cpus)),
            ("pids", str(limits.pids)),
        ]
    own = [f.name for f in fields(Entry) if f.name not in ("id", "spec")]
    return Record.of(*pairs, *((name, str(getattr(entry, name))) for name in own))


def from_record(record: Record) -> Entry:
    """Return what a record says; ValueError if it makes no sense."""

    def need(attr: str) -> str:
        value = record.get(attr)
        if value is None:
            raise ValueError(f"no {attr}=")
        return value

    limits = None
    if record.get("memory") is not None:
        limits = Limits(int(need("memory")), float(need("cpus")), int(need("pids")))
    spec = Spec(
        name=need("name"),
        user=need("user"),
        score=need("score"),
        store=need("store"),
        scratch_bytes=int(need("size")),
        scratch_on_disk=need("disk") == "1",
        limits=limits,
        network=cast("Network", need("network")),
        hostname=need("hostname"),
    )
    return Entry(
        id=need("environment"),
        spec=spec,
        slot=int(need("slot")),
        runtime=cast("RuntimeName", need("runtime")),
        state=cast("State", need("state")),
        reason=need("reason"),
        started_s=int(need("started_s")),
        init_pid=int(need("init_pid")),
        init_start=int(need("init_start")),
        scratch=need("scratch"),
        shifted=need("shifted") == "True",
    )


def write(own: Own, entry: Entry) -> None:
    """Write a record; it appears whole, in place of the old one."""
    draft = own.path(f".{RECORD}.{os.urandom(4).hex()}")
    with open(draft, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(unparse(to_record(entry)))
    os.replace(draft, own.path(RECORD))


def change(own: Own, changed: Callable[[Entry], Entry]) -> Entry | None:
    """Rewrite a record as `changed` returns it; None if there is none."""
    entry = read(own)
    if entry is None:
        return None
    entry = changed(entry)
    write(own, entry)
    return entry


def set_state(own: Own, state: State, reason: str = "") -> Entry | None:
    return change(own, lambda entry: replace(entry, state=state, reason=reason))


def read(own: Own) -> Entry | None:
    """Return an environment's record; None if there is none, or none that makes sense."""
    path = own.path(RECORD)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            record = next(parse(file.read(_SIZE_MAX), path), None)
        entry = None if record is None else from_record(record)
    except (OSError, ValueError):
        return None
    return entry if entry is not None and entry.id == own.id else None


def ids(places: Places) -> list[str]:
    """Return the ids that have a directory, with a record in it or not."""
    try:
        return sorted(name for name in os.listdir(places.folder) if is_id(name))
    except FileNotFoundError:
        return []
