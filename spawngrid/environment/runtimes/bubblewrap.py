"""bwrap(1), by its command line: namespaces, the root, process 1, rights, for environments without limits.

    bwrap   makes the namespaces, turns to the root, gives up what is not wanted, becomes process 1
    ours    the user namespace with a slot's ids, from within which bwrap runs; the cgroup; the mounts, put in
            place while it waits (mounting.py); the filter; whoever joins later (joining.py)

bwrap waits for the filter: without one, it ends. So nothing ever runs unfiltered, nor if this process dies.
"""

import functools
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lib9.faults import fault
from spawngrid.environment import rights
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import RuntimeName, StartFailed
from spawngrid.environment.places import Own
from spawngrid.environment.processes import wait_until
from spawngrid.environment.runtimes import filters, joining, launching, mounting
from spawngrid.environment.runtimes.envoy import Order
from spawngrid.environment.runtimes.interface import Created, Initial, Inside
from spawngrid.environment.runtimes.launching import PROGRAM
from spawngrid.environment.seccomp import profile

START_SECONDS_MAX: Final = 10.0
_SPACES: Final = {
    "mount": "mnt",
    "network": "net",
    **{name: name for name in ("pid", "ipc", "uts", "user", "cgroup")},
}


class Bubblewrap:
    """See `interface.Runtime`. It limits nothing."""

    name: RuntimeName = "bubblewrap"

    def lacks(self) -> str:
        machine = os.uname().machine
        if shutil.which(PROGRAM) is None:
            return f"{PROGRAM} is not installed"
        if filters.library() is None:
            return f"{filters.LIBRARY} is not installed"
        return "" if machine in rights.KEYCTL else f"{machine} is not a known processor"

    def prepare(self) -> None:
        _program(json.dumps(profile()))

    def create(self, own: Own, configuration: Mapping[str, Any]) -> Created:
        code = _program(json.dumps(configuration["linux"]["seccomp"]))
        with open(own.path(joining.FILTER), "wb") as file:
            file.write(code)
        launched = launching.launch(own, configuration)
        fault("start.launched")
        try:
            pid = launched.wait()
            fault("start.made")
            _furnish(pid, configuration)
        except BaseException as error:
            ended = launched.has_ended()
            launched.end()
            if ended and isinstance(error, StartFailed | OSError):
                said = launching.complaint(own, configuration) or str(error)
                raise StartFailed(f"{PROGRAM}: {said}") from error
            raise
        return _Created(pid, launched, code)

    def joining(self, own: Own, initial: Initial, inside: Inside) -> list[str]:
        groups = Group(read_layout(), own.guest_cgroup)
        order = Order(
            folder=own.folder,
            pid=initial.pid,
            start=initial.start,
            groups=groups.layout.everywhere(groups.path),
            terminal=inside.terminal,
            directory=inside.directory,
            pid_file=inside.pid_file,
            variables=len(inside.variables),
        )
        variables = [f"{name}={value}" for name, value in inside.variables.items()]
        return joining.words(order, variables, inside.argv)

    def remove(self, own: Own) -> None:
        """All that it keeps is in the bundle."""


def _furnish(pid: int, configuration: Mapping[str, Any]) -> None:
    process = os.pidfd_open(pid)
    try:
        check_made(pid, configuration)
        mounting.mount_all(process, configuration)
    finally:
        os.close(process)


@functools.lru_cache(maxsize=2)
def _program(seccomp: str) -> bytes:
    return filters.program(json.loads(seccomp))


@dataclass(slots=True)
class _Created:
    pid: int
    _launched: launching.Launched
    _code: bytes

    def start(self) -> None:
        before = _program_of(self.pid)
        self._launched.go_on(self._code)
        try:
            wait_until(lambda: _program_of(self.pid) != before, START_SECONDS_MAX)
            if _program_of(self.pid) in (before, None) or _status(self.pid)["Seccomp"] != "2":
                raise StartFailed("its process 1 ended at once")
        finally:
            self._launched.end_monitor()


def check_made(pid: int, configuration: Mapping[str, Any]) -> None:
    """Make sure that process 1 has no more rights than it should; StartFailed."""
    status = _status(pid)
    wanted = f"{rights.mask(configuration['process']['capabilities']['bounding']):016x}"
    expected = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd"), wanted)
    expected |= {"CapAmb": "0" * 16, "NoNewPrivs": "1"}
    first = str(configuration["linux"]["uidMappings"][0]["hostID"])
    expected |= {"Uid": "\t".join([first] * 4), "Gid": "\t".join([first] * 4), "Groups": ""}
    wrong = [name for name, value in expected.items() if status.get(name) != value]
    for space in configuration["linux"]["namespaces"]:
        name = _SPACES[space["type"]]
        if os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}"):
            wrong.append(name)
    if wrong:
        raise StartFailed(f"{PROGRAM} isolates less than it was asked to: {', '.join(wrong)}")


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return {name: value.strip() for name, _, value in (s.partition(":") for s in file)}
    except (FileNotFoundError, ProcessLookupError):
        raise StartFailed("its process 1 ended at once") from None


def _program_of(pid: int) -> tuple[int, int] | None:
    """Return the file that a process runs; None if it is gone."""
    try:
        found = os.stat(f"/proc/{pid}/exe")
    except OSError:
        return None
    return found.st_dev, found.st_ino
