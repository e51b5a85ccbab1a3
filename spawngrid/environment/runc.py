"""runc(8), by its command line: create, start, exec. What it complains of is read from its log."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from spawngrid.environment.interface import StartFailed
from spawngrid.environment.places import Own
from spawngrid.environment.processes import start_time

PROGRAM: Final = "runc"
INIT_PROGRAM: Final = "catatonit"  # process 1: static, reaps, ends when it is told to
PID_FILE: Final = "init.pid"
SHELL_PID_FILE: Final = "shell.pid"
_LOG: Final = "runc.log"


def program() -> str | None:
    """Return the path of runc; None if it is not installed."""
    return shutil.which(PROGRAM)


def command(own: Own, *words: str) -> list[str]:
    options = ["--root", own.node.runc, "--log", own.path(_LOG), "--log-format", "json"]
    return [PROGRAM, *options, *words]


def run(own: Own, words: Sequence[str], *, streams: tuple[int, int, int] | None = None) -> None:
    """Run runc to its end; StartFailed with what it said last.

    What it starts keeps the streams: they are /dev/null unless given, never files of this machine.
    """
    stdin, stdout, stderr = streams or (subprocess.DEVNULL,) * 3
    done = subprocess.run(
        command(own, *words), stdin=stdin, stdout=stdout, stderr=stderr, check=False
    )
    if done.returncode:
        raise StartFailed(f"runc: {said(own) or f'{words[0]} failed'}")


def said(own: Own) -> str:
    """Return the last error in runc's log."""
    try:
        with open(own.path(_LOG), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("level") in ("error", "fatal"):
            return str(entry.get("msg", ""))
    return ""


def read_pid(own: Own, name: str) -> int:
    """Return the number in a pid file; 0 if there is none."""
    try:
        with open(own.path(name), encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def initial_program() -> str | None:
    """Return the path of what is process 1 everywhere; None if it is not installed."""
    return shutil.which(INIT_PROGRAM)


def is_in(own: Own, pid: int) -> bool:
    """Tell whether a number is still that of a process of the environment: it would be in its cgroup."""
    if pid <= 0 or start_time(pid) is None:
        return False
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return own.guest_cgroup in file.read()
    except OSError:
        return False
