"""Fossil mounts for benches: a home of their own, trees to mount, caches to drop."""

import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.bench.context import Context

BIN = Path(sysconfig.get_path("scripts"))
WAIT_SECONDS_MAX = 30


class Machine:
    """The commands, with everything of theirs below one directory."""

    def __init__(self, ctx: Context, home: Path) -> None:
        self.home = home
        self._ctx = ctx
        self._environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(home),
            **{
                f"XDG_{name}": str(home / name.lower())
                for name in ("DATA_HOME", "STATE_HOME", "CACHE_HOME", "CONFIG_HOME", "RUNTIME_DIR")
            },
        }
        (home / "runtime_dir").mkdir(mode=0o700)

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    def run(self, *words: str | Path) -> str:
        """Run a command and return the last line it prints."""
        return self._ctx.command(*words, environment=self._environment).rstrip().split("\n")[-1]

    def vac(self, tree: Path, *options: str) -> str:
        return self.run("vac", "-q", *options, tree)

    @contextmanager
    def mounted(self, tree: str, *options: str, engine: str = "shim") -> Iterator[Path]:
        """Mount a tree; its changes are dropped at the end."""
        point = self.home / f"mnt{time.monotonic_ns()}"
        point.mkdir()
        environment = {**self._environment, "SPAWNGRID_ENGINE": engine}
        self._ctx.command("fossil-mount", *options, tree, point, environment=environment)
        try:
            yield point
        finally:
            self.run("fossil-umount", "--discard", point)
            point.rmdir()

    def status(self, point: Path) -> dict[str, str]:
        """Return what the registry says of a mount: its daemon's pid and more."""
        for record in (self.home / "runtime_dir" / "spawngrid" / "mounts").glob("*.ndb"):
            words = dict(word.split("=", 1) for word in record.read_text().split() if "=" in word)
            if words["mnt"] == str(point):
                return words
        raise RuntimeError(f"{point}: not in the registry")


@contextmanager
def machine(ctx: Context) -> Iterator[Machine]:
    with ctx.scratch() as home:
        yield Machine(ctx, home)


def drop_all_caches() -> None:
    """Write everything out and drop what the kernel caches; needs root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def memory_of(pid: str) -> int:
    """Return RssAnon + RssShmem of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    words = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(words[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


@contextmanager
def fuse_overlay(ctx: Context, home: Path, lower: Path) -> Iterator[Path | None]:
    """A mount of fuse-overlayfs over a directory on disk; None where it is not installed."""
    if ctx.peer("fuse-overlayfs") is None:
        yield None
        return
    upper, work, point = folders = [home / name for name in ("upper", "work", "overlay")]
    for folder in folders:
        folder.mkdir()
    where = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["fuse-overlayfs", "-o", where, str(point)], check=True, capture_output=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)
