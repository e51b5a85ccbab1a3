"""bwrap as a process: what it is told, from within which user namespace and cgroup it runs, how it waits."""

import json
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from spawngrid.environment import detached, kernel, rights
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import StartFailed
from spawngrid.environment.places import Own
from spawngrid.environment.processes import wait_until

PROGRAM: Final = "bwrap"
CREATE_SECONDS_MAX: Final = 20.0  # a loaded machine
_ENDED_SECONDS_MAX: Final = 0.5  # for one that is about to
_TOLD_SIZE_MAX: Final = 4096
_UNSHARE: Final = {  # the others come with bwrap itself, or are made by us
    "pid": "--unshare-pid",
    "ipc": "--unshare-ipc",
    "uts": "--unshare-uts",
    "cgroup": "--unshare-cgroup",
    "network": "--unshare-net",
}


def arguments(
    configuration: Mapping[str, Any], *, tell: int, passes: int, filtered: int
) -> list[str]:
    """Return what bwrap is told. Pure.

    `tell`: where it writes the number of process 1. `passes`: what it reads when all is made. `filtered`:
    where its filter comes from, which it reads last.
    """
    process, linux = configuration["process"], configuration["linux"]
    kinds = [space["type"] for space in linux["namespaces"]]
    words = [_UNSHARE[kind] for kind in kinds if kind in _UNSHARE]
    words += ["--hostname", configuration["hostname"], "--bind", configuration["root"]["path"], "/"]
    words += ["--cap-drop", "ALL"]
    for name in process["capabilities"]["bounding"]:
        words += ["--cap-add", name]
    words += ["--as-pid-1", "--new-session", "--chdir", process["cwd"]]
    words += ["--info-fd", str(tell), "--block-fd", str(passes), "--seccomp", str(filtered)]
    return [PROGRAM, *words, "--", *process["args"]]


@dataclass(slots=True)
class Launched:
    """bwrap, and the ends of its pipes. `monitor`: the process that it leaves outside."""

    monitor: int
    told: int
    passed: int
    gate: int

    def wait(self) -> int:
        """Return the number of process 1 when all that bwrap makes is made; StartFailed if it ended."""
        deadline = time.monotonic() + CREATE_SECONDS_MAX
        text = _read(self.told, deadline)
        poll = select.poll()
        poll.register(self.passed, 0)  # an error, when nobody is left who would read it
        made = poll.poll(_milliseconds(deadline))
        os.close(self.told)
        os.close(self.passed)
        if not made:
            raise StartFailed(f"{PROGRAM} made nothing within {CREATE_SECONDS_MAX:.0f} s")
        try:
            return int(json.loads(text)["child-pid"])
        except ValueError:
            raise StartFailed(f"{PROGRAM} ended at once") from None

    def has_ended(self) -> bool:
        """Tell whether the process outside has: it does when process 1 does."""
        return wait_until(self._is_gone, _ENDED_SECONDS_MAX)

    def _is_gone(self) -> bool:
        return os.waitid(os.P_PID, self.monitor, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def go_on(self, program: bytes) -> None:
        """Give it its filter: it becomes process 1 then."""
        with suppress(BrokenPipeError), open(self.gate, "wb", buffering=0) as gate:
            gate.write(program)

    def end_monitor(self) -> None:
        """End the process outside: nothing needs it when process 1 is there."""
        with suppress(ProcessLookupError):
            os.kill(self.monitor, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.monitor, 0)

    def end(self) -> None:
        """End it all, before it has gone on."""
        with suppress(OSError):
            os.close(self.gate)
        self.end_monitor()


def launch(own: Own, configuration: Mapping[str, Any], *, errors: int | None = None) -> Launched:
    """Start bwrap in the environment's cgroup. `errors`: where it complains."""
    group = Group(read_layout(), own.guest_cgroup)
    group.create_everywhere()
    ids = configuration["linux"]["uidMappings"][0]
    users = kernel.user_namespace(ids["hostID"], ids["size"])
    (told, tell), (passes, passed), (filtered, gate) = os.pipe(), os.pipe(), os.pipe()
    os.write(passed, b".")
    monitor = os.fork()
    if monitor == 0:
        try:
            if errors is not None:
                os.dup2(errors, 2)
            group.add_everywhere(os.getpid())
            words = arguments(configuration, tell=tell, passes=passes, filtered=filtered)
            quiet = errors is None
            _become(words, configuration["process"], users, (tell, passes, filtered), quiet=quiet)
        except OSError as error:
            if errors is not None:
                os.write(2, f"{error}\n".encode())
        finally:
            os._exit(1)
    for descriptor in (users, tell, passes, filtered):
        os.close(descriptor)
    return Launched(monitor, told, passed, gate)


def complaint(own: Own, configuration: Mapping[str, Any]) -> str:
    """Return why bwrap ends: it is started once more, to be heard. Without a filter it does not go on."""
    heard, said = os.pipe()
    again = launch(own, configuration, errors=said)
    os.close(said)
    os.close(again.gate)
    try:
        lines = _read(heard, time.monotonic() + CREATE_SECONDS_MAX).splitlines()
    finally:
        again.end_monitor()
        for descriptor in (heard, again.told, again.passed):
            os.close(descriptor)
    return lines[-1].removeprefix(f"{PROGRAM}: ") if lines else ""


def _become(
    words: list[str],
    process: Mapping[str, Any],
    users: int,
    passed: tuple[int, ...],
    *,
    quiet: bool,
) -> None:
    """Be bwrap, as the root of a user namespace; only what is passed stays open."""
    program = shutil.which(PROGRAM)
    for limit in process["rlimits"]:
        number = getattr(resource, limit["type"])
        resource.setrlimit(number, (limit["soft"], limit["hard"]))
    rights.leave_keys(os.uname().machine)
    nothing = _nothing()
    for stream in range(3 if quiet else 2):
        os.dup2(nothing, stream)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in (*passed, users):
            with suppress(OSError):
                os.close(int(name))
    for descriptor in passed:
        os.set_inheritable(descriptor, True)
    kernel.enter(users, kernel.NEW_USERS)
    os.close(users)
    rights.be_root_inside()
    # bwrap needs all rights, and is to leave none: what is inherited goes beyond what is bound
    rights.hold(rights.ALL, inherited=rights.ALL)
    rights.bound(rights.mask(process["capabilities"]["bounding"]))
    rights.raise_no_ambient()
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.chdir("/")
    variables = dict(pair.split("=", 1) for pair in process["env"])
    os.execve(program or PROGRAM, words, variables)


def _nothing() -> int:
    """Return a descriptor of /dev/null that is in no tree of mounts: process 1 keeps it."""
    tree = detached.copy(-100, "/dev/null", attributes=("nosuid", "noexec"))
    try:
        return os.open(f"/proc/self/fd/{tree}", os.O_RDWR)
    finally:
        os.close(tree)


def _read(descriptor: int, deadline: float) -> str:
    """Return what is written there until it is closed, or the deadline."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = b""
    while len(data) < _TOLD_SIZE_MAX and poll.poll(_milliseconds(deadline)):
        more = os.read(descriptor, _TOLD_SIZE_MAX)
        if not more:
            break
        data += more
    return data.decode(errors="replace")


def _milliseconds(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic()) * 1000
