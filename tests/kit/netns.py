"""Network namespaces as hosts, with a wire between them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.commands import environment

_numbers = count()  # of namespaces of this process: two fixtures may live at a time


@dataclass(frozen=True)
class Host:
    """A namespace. Its processes see this machine's files and mounts, and a home of their own."""

    name: str
    address: str
    home: Path

    @property
    def config(self) -> Path:
        return self.home / "config" / "spawngrid"

    def words(self, *words: str | Path) -> list[str | Path]:
        """Return the command that runs `words` there."""
        # nsenter: the mount namespace stays this one, where everybody sees what is mounted
        return ["nsenter", f"--net=/run/netns/{self.name}", *words]

    def environ(self) -> dict[str, str]:
        return environment({"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config")})

    def know(self, *records: str) -> None:
        """Let its ndb file say this, and nothing else."""
        (self.config / "ndb").write_text("".join(f"{record}\n" for record in records))

    def run(
        self, *words: str | Path, status: int = 0, stdin: bytes = b""
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command there that must end with exit status `status`."""
        done = subprocess.run(
            self.words(*words), env=self.environ(), input=stdin,
            capture_output=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done


@contextmanager
def two_hosts(top: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, 10.77.7.1 and 10.77.7.2, with homes below `top`; skips where none can be made."""
    if shutil.which("ip") is None:
        pytest.skip("ip(8) is not here")
    number = next(_numbers)
    hosts = tuple(
        Host(f"spawngrid-{os.getpid()}-{number}{end}", f"10.77.7.{1 + 'ab'.index(end)}", top / end)
        for end in "ab"
    )
    ends = [f"s{os.getpid()}-{number}{end}"[-15:] for end in "ab"]
    with ExitStack() as stack:
        for host in hosts:
            host.config.mkdir(parents=True, mode=0o700)
            _ip("netns", "add", host.name)
            stack.callback(_ip, "netns", "del", host.name)
        _ip("link", "add", ends[0], "netns", hosts[0].name, "type", "veth",
            "peer", "name", ends[1], "netns", hosts[1].name)  # fmt: skip
        for host, end in zip(hosts, ends, strict=True):
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", end)
            _ip("-n", host.name, "link", "set", end, "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
        yield hosts[0], hosts[1]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode and words[:2] == ("netns", "add"):
        pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
