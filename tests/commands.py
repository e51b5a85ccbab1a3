"""The project's commands as real processes, as a user would run them."""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.mounts import take_down

BIN = Path(sysconfig.get_path("scripts"))
WAIT_SECONDS_MAX = 90  # a command that takes longer hangs


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **(extra or {})}


def run(
    *words: str | Path, status: int = 0, stdin: bytes = b"", seconds: float = WAIT_SECONDS_MAX
) -> subprocess.CompletedProcess[bytes]:
    """Run a command that must end with exit status `status`."""
    argv = [os.fsencode(word) for word in words]
    done = subprocess.run(
        argv, input=stdin, capture_output=True, env=environment(), timeout=seconds, check=False
    )
    assert done.returncode == status, (
        f"{argv} gave {done.returncode}:\n{done.stderr.decode(errors='replace')}"
    )
    return done


def output(*words: str | Path, status: int = 0, stdin: bytes = b"") -> str:
    """Return what a command prints on stdout, without the last newline."""
    return run(*words, status=status, stdin=stdin).stdout.decode().rstrip("\n")


def vac(*words: str | Path, status: int = 0) -> str:
    """Archive; return the score, which is the last line."""
    return output("vac", *words, status=status).splitlines()[-1]


@contextmanager
def mounted(what: str, where: Path, *options: str) -> Iterator[Path]:
    """Mount `what`; at the end drop its changes and unmount."""
    if not is_mounted(where):  # a dead mount cannot even be asked whether it is a directory
        where.mkdir(exist_ok=True)
    try:
        run("fossil-mount", *options, what, where)
        yield where
        subprocess.run(
            ["fossil-umount", "--discard", str(where)],
            env=environment(),
            check=False,
            capture_output=True,
            timeout=WAIT_SECONDS_MAX,
        )
        assert not is_mounted(where), f"{where} was still mounted"
    finally:
        take_down(where)


def is_mounted(where: Path) -> bool:
    """Tell from the mount table, without touching the mount."""
    return f" {where} " in Path("/proc/self/mountinfo").read_text()


def differences(a: Path, b: Path) -> list[str]:
    """What rsync would change to make `b` equal `a`: contents, links, owners, times, ACLs, xattrs."""
    done = run(
        "rsync",
        "-aHAXn",
        "--numeric-ids",
        "--checksum",
        "--delete",
        "--itemize-changes",
        f"{a}/",
        f"{b}/",
        seconds=600,
    )
    return done.stdout.decode(errors="replace").splitlines()
