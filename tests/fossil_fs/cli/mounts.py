"""Real mounts for tests: a store with an empty tree, commands as processes, what is left cleaned up."""

import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lib9.waiting import run_now
from tests.fossil_fs.drive import empty_root
from tests.kit.mounts import take_down
from venti_store.score import BLAKE3, format_score
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

SCRIPTS = Path(sysconfig.get_path("scripts"))
SECONDS_MAX = 60.0


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return when `condition()` is true; AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


class Machine:
    """A home with a store; `root` is the score of an empty tree in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = home / "data" / "venti"
        create(str(self.store), BLAKE3)
        store = LmdbStore(str(self.store))
        self.root = format_score(run_now(empty_root(store)))
        run_now(store.aclose())
        self.points: list[Path] = []

    def point(self, name: str) -> Path:
        path = self.home / name
        path.mkdir()
        self.points.append(path)
        return path

    def run(
        self, *words: str | Path, status: int = 0, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [str(SCRIPTS / words[0]), *map(str, words[1:])],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
            env={**os.environ, **(env or {})},
        )
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done

    def mount(
        self, tree: str, point: Path, *options: str, env: dict[str, str] | None = None
    ) -> None:
        self.run("fossil-mount", tree, point, *options, env=env)

    def save(self, point: Path, *name: str) -> str:
        return self.run("fossil-save", point, *name).stdout.strip()

    def pid(self, point: Path) -> int:
        for record in (self.home / "run/spawngrid/mounts").glob("*.ndb"):
            words = dict(word.split("=", 1) for word in record.read_text().split())
            if words["mnt"] == str(point):
                return int(words["pid"])
        raise AssertionError(f"{point} is not mounted")

    def kill(self, point: Path) -> None:
        """End the daemon as kill -9 does, and take its dead mount away."""
        pid = self.pid(point)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))
        subprocess.run(["umount", "-l", str(point)], check=True)

    def scratches(self) -> list[Path]:
        folder = self.home / "state" / "fossil"
        return sorted(folder.iterdir()) if folder.exists() else []

    def clean_up(self) -> None:
        """End every daemon of this home, then every mount; shared memory too."""
        try:
            for record in (self.home / "run/spawngrid/mounts").glob("*.ndb"):
                words = dict(word.split("=", 1) for word in record.read_text().split())
                if _is_zombie(int(words["pid"])):
                    continue  # it was killed: nobody takes its record away
                with suppress(ProcessLookupError):
                    os.kill(int(words["pid"]), signal.SIGTERM)
                wait_until(lambda record=record: not record.exists())  # type: ignore[misc]
        finally:
            for point in self.points:
                take_down(point)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@contextmanager
def machine_at(home: Path) -> Iterator[Machine]:
    machine = Machine(home)
    try:
        yield machine
    finally:
        machine.clean_up()
