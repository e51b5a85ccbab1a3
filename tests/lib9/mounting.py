"""Real mounts for tests: memfs in a process of its own, taken down whatever state it is in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lib9.fuse import mounts
from lib9.fuse.errors import NotMounted

TOP = Path(__file__).parents[2]


def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Return when `condition` holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)


class Memfs:
    """memfs on a mount point, as a context."""

    def __init__(
        self,
        point: Path,
        engine: str,
        options: Sequence[str] = (),
        *,
        arguments: Sequence[str] = (),
    ) -> None:
        self.point = point
        self.log_path = point.parent / f"{point.name}.log"
        command = [sys.executable, "-m", "tests.lib9.memfsd", str(point), *arguments]
        command += ["--stock"] if engine == "stock" else []
        for option in options:
            command += ["--option", option]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=TOP, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("ready "), said + self.log()
        words = dict(word.split("=") for word in said.split()[1:])
        self.engine = words["engine"]
        self.minor = int(words["minor"])
        assert self.engine == engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None and error is not None:
            self.abort()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                self.abort()
                self.process.kill()
                self.process.communicate()
                raise
        elif self.process.stdout is not None:
            self.process.stdout.close()
        while (entry := mounts.fuse_mount_at(os.fsencode(self.point))) is not None:
            if entry.minor != self.minor:
                break
            mounts.unmount(entry.point, lazy=True)
        print(self.log())  # pytest shows it with a failure

    def abort(self) -> None:
        with suppress(NotMounted):
            mounts.abort(self.minor)

    def log(self) -> str:
        return self.log_path.read_text()

    def trail(self) -> list[str]:
        """Return what handlers noted since the last call."""
        return os.getxattr(self.point, "user.trail").decode().splitlines()

    def waiting(self) -> int:
        """Return how many reads of `hub` wait in the daemon."""
        return int(os.getxattr(self.point, "user.waiting"))

    def unmount(self) -> str:
        """Unmount from outside, and return what the daemon says at its end."""
        subprocess.run(["umount", str(self.point)], check=True)
        said, _ = self.process.communicate(timeout=20)
        return said
