"""Nodes of a small grid as real processes: a store, its server, a replicate daemon, each in its network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib9 import keys

BIN = Path(sysconfig.get_path("scripts"))
PORT = 27034
SECONDS_MAX = 90  # for what should take a moment, on a loaded machine


class Network:
    """Namespaces on one wire; see tests.kit.switch."""

    def __init__(self, count: int) -> None:
        self.names = [f"repl-{os.getpid()}-{n}" for n in range(1, count + 1)]
        self._switch = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.switch", *self.names],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        if self._switch.stdout.readline() != "ready\n":
            why = self._switch.stderr.read()[-300:]
            self.close()
            pytest.skip(f"no network namespaces here: {why}")

    def tell(self, *words: object) -> int:
        """Change the wire; return the bytes it has carried."""
        self._switch.stdin.write(" ".join(map(str, words)) + "\n")
        self._switch.stdin.flush()
        return int(self._switch.stdout.readline().split()[2])

    def close(self) -> None:
        self._switch.stdin.close()
        self._switch.wait()
        self._switch.stdout.close()
        self._switch.stderr.close()


class Node:
    """One machine. `number` is its place on the network, or None: it is on this one."""

    def __init__(self, folder: Path, name: str, network: Network | None, number: int) -> None:
        self.name, self.folder = name, folder / name
        self.store = self.folder / "data/venti"
        host = f"10.98.0.{number}" if network else "127.0.0.1"
        self.port = PORT if network else PORT + 100 + number
        self.address = f"noise!{host}!{self.port}"
        places = {"DATA": "data", "CONFIG": "config", "STATE": "state", "CACHE": "cache"}
        self.environ = {
            f"XDG_{what}_HOME": str(self.folder / where) for what, where in places.items()
        }
        self.environ |= {"XDG_RUNTIME_DIR": str(self.folder / "run"), "HOME": str(self.folder)}
        for where in (*places.values(), "run"):
            (self.folder / where).mkdir(parents=True, exist_ok=True, mode=0o700)
        # nsenter: no copies of the mounts that others make and take down meanwhile
        self._within = (
            ["nsenter", f"--net=/run/netns/{network.names[number - 1]}"] if network else []
        )
        self.key = keys.create(str(self.folder / "config/spawngrid/key"))
        self.processes: dict[str, subprocess.Popen] = {}
        self("venti", "init", self.store)

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, **self.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more}

    def run(
        self, *words: object, outside: bool = False, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this node, to its end.

        With `outside`, not in its network: ip(8) gives what it runs mounts of its own, too.
        """
        within = [] if outside else self._within
        return subprocess.run(
            [*within, *map(str, words)], env=self.environment(**more), check=False,
            capture_output=True, text=True, timeout=SECONDS_MAX * 3,
        )  # fmt: skip

    def __call__(self, *words: object, outside: bool = False) -> str:
        """Run a command that must work; return what it prints."""
        done = self.run(*words, outside=outside)
        assert done.returncode == 0, f"{self.name}: {words}: {done.returncode} {done.stderr}"
        return done.stdout.strip()

    def knows(self, *peers: tuple["Node", str]) -> None:
        """Write the ndb file: peers, and how to replicate with each (`` for not)."""
        lines = [
            f"sys={p.name} dial={p.address} pubkey={keys.format_key(p.key.public)}"
            f" right=venti right=names {f'replicate={way}' if way else ''}\n"
            for p, way in peers
        ]
        (self.folder / "config/spawngrid/ndb").write_text("".join(lines))

    def start(self, *words: object, name: str | None = None, **more: str) -> subprocess.Popen:
        argv = [*self._within, *map(str, words)]
        with (self.folder / f"{name or words[0]}.log").open("ab") as log:
            process = subprocess.Popen(argv, env=self.environment(**more), stdout=log, stderr=log)
        self.processes[name or str(words[0])] = process
        return process

    def serve(self) -> None:
        self.start("venti", "serve", self.store, "--listen", f"noise!*!{self.port}")

    def replicate(self, **more: str) -> None:
        self.start("replicate", **more)

    def kill(self, *names: str) -> None:
        """Kill processes as by kill -9."""
        for name in names or list(self.processes):
            process = self.processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def save(self, name: str, files: dict[str, bytes]) -> str:
        """Archive a directory of these files under `name`; return the score."""
        source = self.folder / "src"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        for file, data in files.items():
            (source / file).write_bytes(data)
        return self("vac", "-a", name, source).splitlines()[-1]

    def names(self) -> list[str]:
        """The scores of the names that are visible here, by whatever name."""
        listed = self("grid", "names", "ls", "--json").splitlines()
        return [json.loads(line)["rootscore"] for line in listed]

    def status(self) -> dict:
        return json.loads(self("replicate", "--status", "--json"))

    def link(self, peer: "Node", way: str = "pull") -> dict:
        return next(k for k in self.status()["links"] if (k["peer"], k["way"]) == (peer.name, way))

    def check_whole(self) -> None:
        """Walk every visible name: all of its blocks are here and good."""
        scores = sorted(set(self.names()))
        if scores:
            self("venti", "check", *scores)


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS_MAX) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come in {seconds:g} s"
        time.sleep(0.05)


@contextmanager
def nodes_on(network: Network | None, folder: Path, *names: str) -> Iterator[list[Node]]:
    """Nodes, all of whose processes are gone afterwards."""
    made = [Node(folder, name, network, number) for number, name in enumerate(names, 1)]
    try:
        yield made
    finally:
        for node in made:
            node.kill()
