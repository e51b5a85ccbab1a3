"""Hub mounts for tests and benches, and the processes of hub shells."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib9 import keys
from tests.commands import run
from tests.kit.mounts import take_down
from tests.kit.netns import Host, two_hosts


@contextmanager
def hub_mount(point: Path, *options: str | Path) -> Iterator[Path]:
    """Make the directory `point`, and mount hubs on it."""
    point.mkdir()
    try:
        run("hubfs", *options, point)
        yield point
    finally:
        take_down(point)


@contextmanager
def far_hub_mount(top: Path) -> Iterator[Path]:
    """Mount hubs on one host, and on another host, which has every right, over a secure stream."""
    with two_hosts(top) as (a, b), ExitStack() as stack:
        for point in (top / "near", top / "far"):
            point.mkdir()
            stack.callback(take_down, point)
        address = f"noise!{a.address}!17777"
        b.know(f"sys=a dial={address} pubkey={public_key(a)}")
        a.know(f"user=glenda pubkey={public_key(b)} right=hub")
        a.run("hubfs", "--listen", address, top / "near")
        b.run("hubfs", "-r", address, top / "far")
        yield top / "far"


def public_key(host: Host) -> str:
    """Return a host's public key, as records have it; it gets one if it has none."""
    path = str(host.config / "key")
    identity = keys.load(path) if os.path.exists(path) else keys.create(path)
    return keys.format_key(identity.public)


def daemon_of(point: Path, program: str = "bin/hubfs") -> int:
    """Return the process that serves the hubs at `point`; `program` is how it was started."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(point) in words and any(w.endswith(program.encode()) for w in words):
                return int(folder.name)
    raise AssertionError("no daemon")


def hub_processes_of(home: Path) -> list[int]:
    """Processes whose home is `home`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"HOME=" + os.fsencode(home) in variables:
                found.append(int(folder.name))
    return found
