"""Archiving real trees beside restic and borg: first, again, one large file, and back."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.bench.context import Context, noise
from tests.bench.rows import Row

TREES = (Path("/usr/share"), *sorted(Path("/usr/lib").glob("python3*")))
QUICK = (Path("/usr/lib/python3"),)
RESTIC, BORG = "restic backup", "borg create --compression zstd,1"


class Rivals:
    """vac, restic and borg, each with a store of its own that can be made anew."""

    def __init__(self, ctx: Context, scratch: Path) -> None:
        self._ctx = ctx
        self._scratch = scratch
        self.environment = {
            **{name: str(scratch / name) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME")},
            "BORG_BASE_DIR": str(scratch / "borg-home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "RESTIC_PASSWORD": "x",
            "RESTIC_CACHE_DIR": str(scratch / "restic-cache"),
        }
        self.stores = {name: scratch / name for name in ("ours", "restic", "borg")}
        self.peers = {
            "restic": ctx.peer("restic", "version"),
            "borg": ctx.peer("borg"),
        }
        self._count = 0

    @property
    def names(self) -> list[str]:
        return ["ours", *(name for name, version in self.peers.items() if version)]

    def run(self, *words: str | Path) -> str:
        return self._ctx.command(*words, environment=self.environment)

    def fresh(self, name: str) -> None:
        """Make the store anew, and forget what was remembered of the files."""
        for place in (self.stores[name], *self._scratch.glob("XDG*"), self._scratch / "borg-home"):
            if name == "ours" or place.name in (name, "borg-home"):
                shutil.rmtree(place, ignore_errors=True)
        if name == "ours":
            self.run("venti", "init", self.stores[name])
        elif name == "restic":
            shutil.rmtree(self._scratch / "restic-cache", ignore_errors=True)
            self.run("restic", "init", "-q", "-r", self.stores[name])
        else:
            self.run("borg", "init", "-e", "none", self.stores[name])

    def archive(self, name: str, trees: Iterable[Path], compression: str = "zstd,1") -> None:
        if name == "ours":
            self.run("vac", "-q", "-s", self.stores[name], "-a", "bench", *trees)
        elif name == "restic":
            self.run("restic", "backup", "-q", "-r", self.stores[name], *trees)
        else:
            self._count += 1
            place = f"{self.stores[name]}::{self._count}"
            self.run("borg", "create", "--compression", compression, place, *trees)

    def restore(self, name: str, target: Path) -> None:
        if name == "ours":
            self.run("unvac", "-s", self.stores[name], "bench", target)
        elif name == "restic":
            self.run("restic", "restore", "-q", "-r", self.stores[name], "latest", "-t", target)
        else:
            target.mkdir()
            borg = ["borg", "extract", f"{self.stores[name]}::{self._count}"]
            environment = {**os.environ, **self.environment}
            subprocess.run(borg, cwd=target, env=environment, check=True)


def run(ctx: Context) -> Iterable[Row]:
    trees = QUICK if ctx.quick else TREES
    with ctx.scratch() as scratch:
        rivals = Rivals(ctx, scratch)
        files = sum(len(names) for tree in trees for _, _, names in os.walk(tree))
        flags = f"{files} files"
        subprocess.run(["tar", "-cf", "/dev/zero", *trees], check=False, capture_output=True)
        yield from _rows(
            "vac: first archive",
            rivals,
            _race(ctx, rivals, lambda name: rivals.archive(name, trees), rivals.fresh),
            {"restic": 0.75, "borg": 1.0},
            flags,
        )
        yield from _rows(
            "vac -a: again, nothing changed",
            rivals,
            _race(ctx, rivals, lambda name: rivals.archive(name, trees)),
            {"restic": 0.7},
            flags,
        )

        def clear(name: str) -> None:
            shutil.rmtree(scratch / f"out-{name}", ignore_errors=True)

        restored = _race(
            ctx, rivals, lambda name: rivals.restore(name, scratch / f"out-{name}"), clear, runs=3
        )
        yield from _rows("unvac: all of it", rivals, restored, {}, flags)
        for name in rivals.names:
            clear(name)
        big = scratch / "big"
        big.mkdir()
        size = ctx.size(1 << 30, 16 << 20)
        (big / "noise").write_bytes(noise(size))
        yield from _rows(
            "vac: one large file",
            rivals,
            _race(ctx, rivals, lambda name: rivals.archive(name, [big], "none"), rivals.fresh, 3),
            {},
            f"{size >> 20} MiB of noise; borg --compression none",
        )


def _race(
    ctx: Context,
    rivals: Rivals,
    action: Callable[[str], None],
    prepare: Callable[[str], None] | None = None,
    runs: int | None = None,
) -> Mapping[str, list[float]]:
    return ctx.race(
        {name: lambda name=name: action(name) for name in rivals.names},
        prepare=prepare,
        runs=min(runs or ctx.runs, ctx.runs),
    )


def _rows(
    what: str,
    rivals: Rivals,
    values: Mapping[str, list[float]],
    targets: Mapping[str, float],
    flags: str,
) -> Iterable[Row]:
    for name, version in rivals.peers.items():
        command = RESTIC if name == "restic" else BORG
        yield Row(
            f"{what} (beside {name})",
            "s",
            values["ours"],
            values.get(name, ()),
            version or f"{name} is not installed",
            target=targets.get(name),
            target_is="ratio",
            cache="source cached",
            flags=f"{flags}; vac -a, {command}",
        )
