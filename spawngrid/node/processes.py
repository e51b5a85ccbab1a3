"""The processes of a node: which run, started, and ended.

Each service has a file `run/NAME.pid` with its pid and when that process began, as the kernel counts,
so that a pid which now is somebody else's is never taken for it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final

from lib9.errors import SpawngridError
from lib9.places import private_directory
from lib9.sockets import socket_path
from spawngrid import files
from spawngrid.settings.config import NodeConfig

READY_SECONDS_MAX: Final = 60.0  # a loaded machine takes seconds to import a daemon
ALIVE_SECONDS: Final = 0.5  # a script that does not end at once has started
END_SECONDS_MAX: Final = 30.0
_POLL_SECONDS: Final = 0.02


class ServiceFailed(SpawngridError):
    """A service of a node did not start; its log says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service and its process; pid 0: it does not run."""

    service: str
    pid: int


def services_of(config: NodeConfig) -> list[str]:
    """Return the services of a node in the order in which they are started."""
    found = ["node"]
    if config.is_storage:
        found.append("stosvc")
    if config.is_cpu:
        found.append("cpusvc")
    return found


def command_of(config: NodeConfig, file: str, service: str) -> list[str]:
    """Return the command line of a service."""
    own = [sys.executable, "-m"]
    if service == "node":
        return [*own, "spawngrid.cli.grid", "node", "serve", "--config", file]
    program = config.stosvc if service == "stosvc" else config.cpusvc
    start = [*own, f"spawngrid.cli.{service}"] if program == service else [program]
    return [*start, "--config", file]


def running(config: NodeConfig, service: str) -> Running:
    """Return a service with the pid it has now."""
    record = files.read_record(_pid_file(config, service))
    if record is None:
        return Running(service, 0)
    pid = int(record.get("pid") or 0)
    alive = _began(pid) == record.get("began")
    return Running(service, pid if alive else 0)


def start(config: NodeConfig, file: str, service: str, environ: Mapping[str, str]) -> Running:
    """Start a service that does not run; returns when it can be used. ServiceFailed."""
    private_directory(config.run)
    now = running(config, service)
    if now.pid:
        return now
    log = config.place("log", f"{service}.log")
    where = os.path.join(config.run, f"{service}.ready")
    with suppress(FileNotFoundError):
        os.unlink(where)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(log, "ab") as out:
        with socket_path(where) as short:
            ready.bind(short)
        try:
            process = _popen(config, file, service, {**environ, "NOTIFY_SOCKET": where}, out)
            record_pid(config, service, process.pid)
            ours = command_of(config, file, service)[0] == sys.executable
            _wait_ready(process, ready, service, log, READY_SECONDS_MAX if ours else ALIVE_SECONDS)
        finally:
            os.unlink(where)
    return Running(service, process.pid)


def _popen(
    config: NodeConfig, file: str, service: str, environ: Mapping[str, str], out: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command_of(config, file, service),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
            env=_environ(config, environ),
        )
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise ServiceFailed(f"{service} did not start: {why}") from None


def record_pid(config: NodeConfig, service: str, pid: int) -> None:
    """Let it be known which process a service is."""
    private_directory(config.run)
    record = files.record_of([("service", service), ("pid", str(pid)), ("began", _began(pid))])
    files.replace(_pid_file(config, service), record)


def stop(config: NodeConfig, service: str) -> bool:
    """End a service and wait for it; False if it did not run. One that does not end is killed."""
    now = running(config, service)
    if not now.pid:
        return False
    os.kill(now.pid, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS_MAX
    while running(config, service).pid:
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(now.pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
        with suppress(ChildProcessError):
            os.waitpid(now.pid, os.WNOHANG)
    files.remove(_pid_file(config, service))
    return True


def _wait_ready(
    process: subprocess.Popen[bytes],
    ready: socket.socket,
    service: str,
    log: str,
    seconds_max: float,
) -> None:
    """Return when the service says that it is ready; a script that stays alive may not say so."""
    deadline = time.monotonic() + seconds_max
    ready.settimeout(_POLL_SECONDS * 5)
    while time.monotonic() < deadline:
        try:
            if b"READY=1" in ready.recv(4096):
                return
        except TimeoutError:
            if process.poll() is not None:
                break
    if process.poll() is None and seconds_max == ALIVE_SECONDS:
        return
    process.kill()
    process.wait()
    raise ServiceFailed(f"{service} did not start: {_last_line(log).removeprefix('grid: ')}")


def _last_line(log: str) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 1000))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"see {log}"


def _environ(config: NodeConfig, environ: Mapping[str, str]) -> dict[str, str]:
    programs = os.path.dirname(sys.executable)
    path = f"{programs}:{environ.get('PATH', os.defpath)}"
    here = {"PATH": path, "GRID_NODE": config.name, "GRID_HOME": config.home}
    return {**config.environ(dict(environ)), **here, "GRID_HUBS": config.gridsvc}


def _pid_file(config: NodeConfig, service: str) -> str:
    return os.path.join(config.run, f"{service}.pid")


def _began(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; "" if there is none, or a zombie only."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
