"""Other programs that do the work: their failure is one error, what they say goes to stderr as it comes."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from lib9.errors import Exit, SpawngridError


class ProgramFailed(SpawngridError):
    """A program that was needed failed; it has said why."""


class ProgramMissing(SpawngridError):
    """A program that is needed is not installed."""


def ours(module: str) -> list[str]:
    """Return how a command of this project is run, wherever it is installed."""
    return [sys.executable, "-m", module]


def need(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ProgramMissing(f"{name}: not installed (package {package})")
    return path


def run(
    command: Sequence[str],
    *,
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
) -> None:
    """Run a program to its end, its output on stderr or where it is to go; ProgramFailed."""
    out = sys.stderr.fileno() if stdout is None else stdout
    status = subprocess.run(command, stdin=stdin, stdout=out, check=False).returncode
    if status:
        raise ProgramFailed(f"{command[0]}: failed with status {status}")


def output(command: Sequence[str]) -> str:
    """Return what a program prints; ProgramFailed with the exit status it had."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (Exit.OK, Exit.PARTIAL):
        raise ProgramFailed(f"{command[-1]}: not stored")
    return done.stdout.decode(errors="surrogateescape").strip()
