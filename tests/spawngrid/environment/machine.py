"""A node with a store and busybox roots, as tests want it: started, asked, and nothing left behind."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from spawngrid.environment import orders
from spawngrid.environment.interface import Environment, Spec, Streams
from spawngrid.environment.node import Node
from spawngrid.environment.processes import start_time
from tests.commands import environment
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.environment import create

SECONDS_MAX = 60.0


def wait_until(condition: Callable[[], object], seconds: float = SECONDS_MAX) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


class Machine:
    """A node of its own, below one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run_directory, self.state = home / "run", home / "state"
        home.mkdir(exist_ok=True)
        self.store = home / "venti"
        create(str(self.store), BLAKE3)
        self.node = self.another()
        self.root = self.store_root(busybox(home / "busybox"))

    def another(self, kill_at: str = "", *, shift_ids: bool | None = None) -> Node:
        directories = str(self.run_directory), str(self.state)
        return Node(*directories, kill_at=kill_at, shift_ids=shift_ids)

    def store_root(self, tree: Path) -> str:
        variables = environment(
            {"venti": str(self.store), "XDG_CACHE_HOME": str(self.home / "cache")}
        )
        done = subprocess.run(["vac", str(tree)], env=variables, capture_output=True, check=True)
        return done.stdout.decode().split()[-1]

    def stored(self, score: str, path: str) -> bytes:
        """Return a file of a stored root."""
        variables = environment({"venti": str(self.store)})
        words = ["fossil-cat", f"{score}:{path}"]
        return subprocess.run(words, env=variables, capture_output=True, check=True).stdout

    def restored(self, score: str, where: Path) -> Path:
        """Return a directory with all files of a stored root."""
        variables = environment({"venti": str(self.store)})
        subprocess.run(["unvac", score, where], env=variables, capture_output=True, check=True)
        return where

    def spec(self, **changes: object) -> Spec:
        facts = {"name": "test", "user": "glenda", "score": self.root, "store": str(self.store)}
        return Spec(**{"network": "none", **facts, **changes})  # type: ignore[arg-type]

    @contextmanager
    def spawned(self, **changes: object) -> Iterator[Environment]:
        made = self.node.start(self.spec(**changes))
        try:
            yield made
        finally:
            self.node.stop(made.id)

    def run(self, env: Environment, *argv: str, stdin: bytes = b"") -> Said:
        """Run a command inside to its end."""
        with ExitStack() as stack:
            given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(stdin)
            given.seek(0)
            streams = Streams(given.fileno(), out.fileno(), err.fileno())
            status = self.node.run(env.id, argv, streams).wait(SECONDS_MAX)
            for file in (out, err):
                file.seek(0)
            return Said(status, out.read().decode(), err.read().decode())

    def sh(self, env: Environment, script: str) -> Said:
        return self.run(env, "sh", "-c", script)

    def hub(self, env: Environment, name: str) -> bytes:
        """Return what is in a hub now."""
        path = f"{env.hubs}/{env.id}/{name}"
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = b""
            with suppress(BlockingIOError):
                while more := os.read(descriptor, 1 << 16):
                    data += more
            return data
        finally:
            os.close(descriptor)

    def say(self, env: Environment, line: str) -> None:
        with open(f"{env.hubs}/{env.shell}0", "ab", buffering=0) as hub:
            hub.write(f"{line}\n".encode())

    def close(self) -> None:
        for each in self.node.all():
            self.node.stop(each.id)
        left = self.node.orphans()
        keeper = orders.server_pid(str(self.run_directory / "environments/keeper.sock"))
        self.node.close()
        assert keeper is None or start_time(keeper) is None
        assert left == []
        assert str(self.home) not in Path("/proc/self/mountinfo").read_text()


def busybox(tree: Path) -> Path:
    """Make a root of busybox alone, with every applet."""
    (tree / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    applets = subprocess.run(["busybox", "--list"], capture_output=True, check=True, text=True)
    for name in applets.stdout.split():
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")
    return tree
