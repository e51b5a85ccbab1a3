"""runc(8), by its command line: create, start, exec. What it complains of is read from its log."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from spawngrid.environment.interface import RuntimeName, StartFailed
from spawngrid.environment.pids import read_pid
from spawngrid.environment.places import Own
from spawngrid.environment.runtimes.interface import Created, Initial, Inside

PROGRAM: Final = "runc"
_LOG: Final = "runc.log"
_PID_FILE: Final = "init.pid"


@dataclass(frozen=True, slots=True)
class _Created:
    own: Own
    pid: int

    def start(self) -> None:
        _run(self.own, ["start", self.own.id])


class Runc:
    """See `interface.Runtime`. It limits what an environment uses, too."""

    name: RuntimeName = "runc"

    def lacks(self) -> str:
        return "" if shutil.which(PROGRAM) else f"{PROGRAM} is not installed"

    def prepare(self) -> None:
        """Nothing: it is a program of its own."""

    def create(self, own: Own, configuration: Mapping[str, object]) -> Created:
        pid_file = own.path(_PID_FILE)
        _run(own, ["create", "--bundle", own.folder, "--pid-file", pid_file, own.id])
        return _Created(own, read_pid(pid_file))

    def joining(self, own: Own, initial: Initial, inside: Inside) -> list[str]:
        options = ["--cwd", inside.directory]
        if inside.terminal:
            options.append("--tty")
        if inside.pid_file:
            options += ["--detach", "--pid-file", inside.pid_file]
        for name, value in inside.variables.items():
            options += ["--env", f"{name}={value}"]
        return _command(own, "exec", *options, own.id, *inside.argv)

    def remove(self, own: Own) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(os.path.join(own.node.runc, own.id))


def _command(own: Own, *words: str) -> list[str]:
    options = ["--root", own.node.runc, "--log", own.path(_LOG), "--log-format", "json"]
    return [shutil.which(PROGRAM) or PROGRAM, *options, *words]


def _run(own: Own, words: Sequence[str]) -> None:
    """Run runc to its end; StartFailed with what it said last.

    What it starts keeps the streams: they are /dev/null, never files of this machine.
    """
    done = subprocess.run(
        _command(own, *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise StartFailed(f"runc: {_said(own) or f'{words[0]} failed'}")


def _said(own: Own) -> str:
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
