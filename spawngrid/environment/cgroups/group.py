"""One cgroup of ours: made, filled, stopped and set going, emptied, removed."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from spawngrid.environment.cgroups.layout import Layout, enabling, parse_layout
from spawngrid.environment.processes import wait_until

FREEZE_SECONDS_MAX: Final = 2.0  # a task that waits for a file system cannot be stopped (v1)
KILL_SECONDS_MAX: Final = 10.0
_EMPTY_IN_NEW: Final = (
    "cpuset.cpus",
    "cpuset.mems",
)  # of version 1: nothing can run before they are set


def read_layout() -> Layout:
    """Return this machine's layout."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        table = file.read()
    layout = parse_layout(table)
    if not layout.unified:
        return layout
    return parse_layout(table, _read(f"{layout.unified}/cgroup.controllers") or "")


@dataclass(frozen=True, slots=True)
class Group:
    """A cgroup by its path from the root of each hierarchy."""

    layout: Layout
    path: str

    def create(self) -> None:
        """Make the group; OSError if it cannot be. It may be there already."""
        if self.layout.is_pure:
            for above, text in enabling(self.path):
                os.makedirs(self.layout.unified + above, exist_ok=True)
                with suppress(OSError):  # a controller that is not there is a matter for the doctor
                    _write(f"{self.layout.unified}{above}/cgroup.subtree_control", text)
        for directory in self.layout.directories(self.path):
            os.makedirs(directory, exist_ok=True)

    def create_everywhere(self) -> list[str]:
        """Make the group in every hierarchy, so that nothing of another's is seen in any; its directories."""
        self.create()
        found = self.layout.everywhere(self.path)
        for directory in found:
            top = directory.removesuffix(self.path)
            for name in self.path.strip("/").split("/"):
                top = f"{top}/{name}"
                os.makedirs(top, exist_ok=True)
                for file in _EMPTY_IN_NEW:
                    _inherit(top, file)
        return found

    def add(self, pid: int) -> None:
        """Move a process into the group."""
        for directory in self.layout.directories(self.path):
            _write(f"{directory}/cgroup.procs", str(pid))

    def add_everywhere(self, pid: int) -> None:
        """Move a process into the group in every hierarchy that has it."""
        for directory in self.layout.everywhere(self.path):
            _write(f"{directory}/cgroup.procs", str(pid))

    def processes(self) -> set[int]:
        """Return who is in it, and in groups below it, wherever the machine counts it."""
        found: set[int] = set()
        for top in self.layout.everywhere(self.path):
            for directory, _, _ in os.walk(top):
                with suppress(ValueError):
                    found.update(map(int, (_read(f"{directory}/cgroup.procs") or "").split()))
        return found

    def freeze(self, seconds: float = FREEZE_SECONDS_MAX) -> bool:
        """Stop all its processes; False, and all go on, if they do not stand still in time."""
        frozen = self.layout.of("freezer", self.path)
        if frozen is None:
            return False
        try:
            if self.layout.is_pure:
                _write(f"{frozen}/cgroup.freeze", "1")
                stands = wait_until(
                    lambda: "frozen 1" in (_read(f"{frozen}/cgroup.events") or ""), seconds
                )
            else:
                _write(f"{frozen}/freezer.state", "FROZEN")
                stands = wait_until(
                    lambda: (_read(f"{frozen}/freezer.state") or "").strip() == "FROZEN", seconds
                )
        except OSError:
            stands = False
        if not stands:
            self.thaw()
        return stands

    def thaw(self) -> None:
        """Set its processes going again."""
        for top in self.layout.everywhere(self.path):
            for name, text in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
                if os.path.exists(f"{top}/{name}"):
                    with suppress(OSError):
                        _write(f"{top}/{name}", text)

    def is_frozen(self) -> bool:
        """Tell whether its processes are held, or about to be."""
        frozen = self.layout.of("freezer", self.path)
        if frozen is None:
            return False
        if self.layout.is_pure:
            return (_read(f"{frozen}/cgroup.freeze") or "").strip() == "1"
        return (_read(f"{frozen}/freezer.state") or "THAWED").strip() != "THAWED"

    def kill(self) -> None:
        """End all its processes and wait until they are gone; TimeoutError."""
        self.thaw()  # of version 1: who is frozen cannot die

        def empty() -> bool:
            left = self.processes()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        if not wait_until(empty, KILL_SECONDS_MAX):
            raise TimeoutError(f"processes of {self.path} do not end")

    def remove(self) -> bool:
        """Remove the group and those below it, which have no processes; tell whether it was there."""
        there = False
        for top in self.layout.everywhere(self.path):
            for directory, _, _ in sorted(os.walk(top), reverse=True):
                there = True
                # a group is busy for a moment after its last process is gone
                wait_until(partial(_gone, directory), KILL_SECONDS_MAX)
        return there

    def usage(self) -> tuple[int | None, float | None, int | None]:
        """Return bytes of memory, seconds of processor time, and processes; None: not counted."""
        memory, cpu, pids = (self.layout.of(n, self.path) for n in ("memory", "cpuacct", "pids"))
        if self.layout.is_pure:
            stat = dict(_pairs(_read(f"{cpu}/cpu.stat")))
            seconds = int(stat["usage_usec"]) / 1e6 if "usage_usec" in stat else None
            return _number(f"{memory}/memory.current"), seconds, _number(f"{pids}/pids.current")
        nanoseconds = _number(f"{cpu}/cpuacct.usage")
        return (
            _number(f"{memory}/memory.usage_in_bytes"),
            None if nanoseconds is None else nanoseconds / 1e9,
            _number(f"{pids}/pids.current"),
        )


def children(layout: Layout, path: str) -> set[str]:
    """Return the names of the groups right below one."""
    found: set[str] = set()
    for top in layout.everywhere(path):
        with suppress(FileNotFoundError), os.scandir(top) as entries:
            found.update(entry.name for entry in entries if entry.is_dir())
    return found


def _inherit(directory: str, name: str) -> None:
    """Let a group that has nothing in a file have what the group above it has."""
    if not (_read(f"{directory}/{name}") or "x").strip():
        _write(f"{directory}/{name}", _read(f"{os.path.dirname(directory)}/{name}") or "")


def _gone(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _number(path: str) -> int | None:
    text = (_read(path) or "").strip()
    return int(text) if text.isdigit() else None


def _pairs(text: str | None) -> list[tuple[str, str]]:
    return [
        (words[0], words[1])
        for line in (text or "").splitlines()
        if len(words := line.split()) == 2
    ]
