"""What is seen of an environment from outside, and a guest of it that knows Python: for attacks."""

import ctypes
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spawngrid.environment.cgroups.group import read_layout
from spawngrid.environment.interface import Environment
from spawngrid.environment.places import Own, Places
from spawngrid.environment.processes import start_time
from spawngrid.environment.runtimes.envoy import Envoy, Order
from spawngrid.environment.runtimes.joining import FILTER, words
from tests.spawngrid.environment.machine import Machine


def own(machine: Machine, env: Environment) -> Own:
    return Places(str(machine.run_directory), str(machine.state)).of(env.id)


def order(machine: Machine, env: Environment, **changes: object) -> Order:
    """Return what a command that joins is told."""
    place = own(machine, env)
    facts: dict[str, Any] = {
        "folder": place.folder,
        "pid": env.init_pid,
        "start": start_time(env.init_pid),
        "groups": read_layout().everywhere(place.guest_cgroup),
        "terminal": False,
        "directory": "/",
        "pid_file": "",
        "variables": 0,
    }
    return Order(**facts | changes)


def joining(
    machine: Machine, env: Environment, argv: Sequence[str], **changes: object
) -> list[str]:
    return words(order(machine, env, **changes), [], argv)


def configuration(machine: Machine, env: Environment) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(Path(own(machine, env).path("config.json")).read_text())
    return made


def as_guest(machine: Machine, env: Environment, attack: Callable[[], object]) -> Any:
    """Return what a function finds inside, with a guest's rights; calls are not filtered for it."""
    code = Path(own(machine, env).path(FILTER)).read_bytes()
    envoy = Envoy(order(machine, env), configuration(machine, env)["process"], code, [])
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            envoy.enter()
            inside = os.fork()
            if inside == 0:
                os.write(writes, json.dumps(attack()).encode())
            else:
                os.waitpid(inside, 0)
        except BaseException as error:  # told to the test
            os.write(writes, json.dumps(f"{type(error).__name__}: {error}").encode())
        finally:
            os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    with open(reads, "rb") as told:
        return json.loads(told.read())


def attempts(pid: int) -> dict[str, str]:
    """Return what happens to who wants to look into a process: "done", or what it is refused with."""
    libc = ctypes.CDLL(None, use_errno=True)
    there = f"/proc/{pid}"

    def call(*arguments: object) -> None:
        if libc.syscall(*arguments) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def trace() -> None:
        if libc.ptrace(16, pid, None, None) < 0:  # PTRACE_ATTACH
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def take() -> None:
        call(438, os.pidfd_open(pid), 0, 0)  # pidfd_getfd

    ways: dict[str, Callable[[], object]] = {
        "environ": lambda: Path(there, "environ").read_bytes(),
        "maps": lambda: Path(there, "maps").read_bytes(),
        "mem": lambda: open(f"{there}/mem", "r+b").close(),
        "fd": lambda: os.listdir(f"{there}/fd"),
        "exe": lambda: os.readlink(f"{there}/exe"),
        "cwd": lambda: os.stat(f"{there}/cwd"),
        "root": lambda: os.stat(f"{there}/root/."),
        "mounts": lambda: os.readlink(f"{there}/ns/mnt"),
        "trace": trace,
        "take": take,
    }
    found = {}
    for name, way in ways.items():
        try:
            way()
            found[name] = "done"
        except OSError as error:
            found[name] = type(error).__name__
    return found
