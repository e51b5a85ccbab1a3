"""A grid on this machine: nodes as real processes, each with a home of its own, and users with keys."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from spawngrid.node import processes
from spawngrid.node.environments import open_environments
from spawngrid.settings.config import NodeConfig, read_config
from tests.commands import WAIT_SECONDS_MAX, environment

EXAMPLES = Path(__file__).parents[2] / "examples" / "grid"
PROGRAMS = ("runc", "bwrap", "catatonit", "busybox")


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """A node of the grid."""

    def __init__(self, grid: "Grid", name: str) -> None:
        self.grid = grid
        self.name = name
        self.file = grid.home / f"{name}.ndb"

    @property
    def config(self) -> NodeConfig:
        return read_config(str(self.file))

    def grid_command(
        self, *words: str, status: int | None = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return call([*words, "--config", str(self.file)], status=status, env=env)

    def start(self, fault: str = "") -> None:
        """Start what does not run; `fault`: the point at which that is killed."""
        env = {"SPAWNGRID_FAULT": fault} if fault else None
        self.grid_command("node", "start", env=env)

    def stop(self) -> None:
        self.grid_command("node", "stop")

    def pid(self, service: str) -> int:
        return processes.running(self.config, service).pid

    def kill(self, service: str) -> None:
        """End a service as kill -9 does."""
        pid = self.pid(service)
        assert pid, f"{service} does not run"
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pid(service))

    def doctor(self) -> dict[str, object]:
        done = self.grid_command("doctor", "--json", status=None)
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def orphans(self) -> object:
        found = self.doctor()
        return found["left"]

    def record(self, user: str, name: str, score: str) -> str:
        done = self.grid_command("names", "record", "-u", user, name, score)
        return done.stdout.decode().strip()

    def vac(self, tree: Path) -> str:
        variables = {"venti": str(self.config.store), "XDG_CACHE_HOME": str(self.grid.home / "c")}
        done = call([str(tree)], program="vac", env=variables)
        return done.stdout.decode().split()[-1]

    def close(self) -> None:
        config = self.config
        if config.is_cpu:
            environments = open_environments(config)
            for each in environments.all():
                environments.stop(each.id)
        self.stop()


class User:
    """Somebody with a key, who has joined."""

    def __init__(self, grid: "Grid", name: str) -> None:
        self.name = name
        self.home = grid.home / f"user-{name}"
        self.home.mkdir(mode=0o700)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "HOME": str(self.home),
        }

    def __call__(self, *words: str, status: int | None = 0, stdin: bytes = b"") -> str:
        """Run grid; return what it prints."""
        return self.run(*words, status=status, stdin=stdin).stdout.decode()

    def run(
        self, *words: str, status: int | None = 0, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        return call(list(words), status=status, stdin=stdin, env=self.variables)

    @contextmanager
    def start(self, *words: str, stdout: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
        """Run grid meanwhile."""
        with subprocess.Popen(
            [sys.executable, "-m", "spawngrid.cli.grid", *words],
            env=environment(self.variables),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def refused(self, *words: str) -> str:
        """Run grid, which must fail; return its complaint."""
        done = self.run(*words, status=None)
        assert done.returncode, words
        return done.stderr.decode()

    def json(self, *words: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in self(*words, "--json").splitlines()]


class Grid:
    """Nodes and users below one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.nodes: list[Node] = []

    def storage(self, name: str = "sto1", roles: tuple[str, ...] = (), **more: str) -> Node:
        node = Node(self, name)
        address = f"noise!127.0.0.1!{free_port()}"
        words = ["node", "init", name, "--listen", address, "--home", str(self.home / name)]
        words += ["--run", str(self.home / name / "run")]
        for role in roles:
            words += ["--role", role]
        for attr, value in more.items():
            words += ["--set", f"{attr.replace('_', '-')}={value}"]
        node.grid_command(*words)
        self.nodes.append(node)
        return node

    def cpu(self, storage: Node, name: str) -> Node:
        token = storage.grid_command("node", "add", name).stdout.decode().strip()
        node = Node(self, name)
        address = f"noise!127.0.0.1!{free_port()}"
        words = ["node", "init", name, "--listen", address, "--home", str(self.home / name)]
        node.grid_command(*words, "--run", str(self.home / name / "run"), "--join", token)
        self.nodes.append(node)
        return node

    def user(self, storage: Node, name: str) -> User:
        token = storage.grid_command("user", "add", name).stdout.decode().strip()
        user = User(self, name)
        assert user("join", token) == f"you are {name}\n"
        return user

    def close(self) -> None:
        for node in reversed(self.nodes):
            node.close()
        end_processes(self.home)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            point = line.split()[4]
            if point.startswith(f"{self.home}/"):
                subprocess.run(["umount", "-l", point], check=False)


def end_processes(home: Path) -> None:
    """End what was started below this directory and serves all environments of a node."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if f"{home}/".encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    for pid in found:
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    for pid in found:
        with suppress(AssertionError):
            wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), 10)
            continue
        os.kill(pid, signal.SIGKILL)


def call(
    words: list[str],
    *,
    program: str = "grid",
    status: int | None = 0,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    argv = [program] if program != "grid" else [sys.executable, "-m", "spawngrid.cli.grid"]
    done = subprocess.run(
        [*argv, *words],
        input=stdin,
        capture_output=True,
        env=environment(env),
        timeout=WAIT_SECONDS_MAX,
        check=False,
    )
    assert status is None or done.returncode == status, (
        f"{words} gave {done.returncode}: {done.stderr.decode(errors='replace')}"
    )
    return done


def with_clean(made: Node, tree: Path) -> Node:
    """Start a storage node on which glenda has a root of busybox by the name clean; return it."""
    made.start()
    made.record("glenda", "clean", made.vac(busybox(tree)))
    return made


def busybox(tree: Path) -> Path:
    """Make a root of busybox alone."""
    (tree / "bin").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "root").mkdir()
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    (tree / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    applets = subprocess.run(["busybox", "--list"], capture_output=True, check=True, text=True)
    for name in applets.stdout.split():
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")
    return tree
