"""Environments: from spawn to the first output beside runc's, many at once, and the pause of a save."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from spawngrid.environment import orders
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import Environment
from spawngrid.environment.places import Places
from tests.bench.context import Context
from tests.bench.rows import Row
from tests.spawngrid.environment.machine import Machine, wait_until

DEBIAN = "SPAWNGRID_BENCH_DEBIAN"  # a Debian system of about 300 MB that is there already
_ID = "bench-runc"


def run(ctx: Context) -> Iterable[Row]:
    with ctx.scratch() as scratch:
        machine = Machine(scratch / "node")
        try:
            machine.node.prepare()
            yield from _spawn(ctx, machine, scratch)
            yield _save(ctx, machine)
            yield _many(ctx, machine)
        finally:
            machine.close()


def _first_output(machine: Machine, score: str, **changes: object) -> float:
    """Return the seconds from a spawn to what its first command prints."""
    began = time.perf_counter()
    env = machine.node.start(machine.spec(score=score, **changes))
    try:
        assert machine.run(env, "/bin/echo", "here").out == "here\n"
        return time.perf_counter() - began
    finally:
        machine.node.stop(env.id)


def _spawn(ctx: Context, machine: Machine, scratch: Path) -> Iterable[Row]:
    bundle = _bundle(machine, scratch)
    debian = machine.store_root(_debian(scratch))
    times = ctx.race(
        {
            "busybox": lambda: _first_output(machine, machine.root),
            "runc": lambda: _by_runc(bundle),
            "unlimited": lambda: _first_output(machine, machine.root, limits=None),
            "debian": lambda: _first_output(machine, debian),
        },
        runs=ctx.runs * 2,
    )
    ours, theirs, large = times["busybox"], times["runc"], times["debian"]
    yield Row(
        "grid: spawn to first output, busybox",
        "s",
        ours,
        theirs,
        "runc, plain directory",
        flags="limits, no network; a spare process, hubs and the store are there",
    )
    yield Row(
        "grid: spawn to first output, beyond runc's",
        "s",
        [a - b for a, b in zip(ours, theirs, strict=True)],
        target=0.150,
    )
    yield Row(
        "grid: spawn to first output, no limits",
        "s",
        times["unlimited"],
        ours,
        "with limits, by runc",
        flags="by bubblewrap; no network",
    )
    yield Row(
        "grid: spawn to first output, Debian of 300 MB",
        "s",
        large,
        ours,
        "the busybox root",
        target=1.5,
        target_is="ratio",
    )


def _bundle(machine: Machine, scratch: Path) -> Path:
    """Return a bundle with the busybox tree as a plain directory."""
    bundle = scratch / "bundle"
    bundle.mkdir()
    shutil.copytree(machine.home / "busybox", bundle / "rootfs", symlinks=True)
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/echo", "here"]}
    config["linux"]["resources"]["memory"] = {"limit": 512 << 20}
    config["linux"]["resources"]["pids"] = {"limit": 512}
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def _by_runc(bundle: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(["runc", "run", _ID], cwd=bundle, capture_output=True, check=True)
    assert done.stdout == b"here\n"
    return time.perf_counter() - began


def _debian(scratch: Path) -> Path:
    given = os.environ.get(DEBIAN)
    if given:
        return Path(given)
    tree = scratch / "debian"
    include = "--include=git,perl,python3-minimal"
    subprocess.run(
        ["debootstrap", "--variant=minbase", include, "bookworm", tree],
        check=True,
        capture_output=True,
    )
    return tree


def _save(ctx: Context, machine: Machine) -> Row:
    """Four programs write without a rest while their environment is saved."""
    writer = "while :; do for f in 1 2 3 4; do echo x >> /w$0-$f; done; done"
    with machine.spawned(limits=None) as env:
        for number in range(4):
            machine.say(env, f"sh -c '{writer}' {number} &")
        wait_until(lambda: machine.sh(env, "test -s /w3-4").status == 0)
        saves = [machine.node.save(env.id) for _ in range(ctx.runs * 2)]
    assert all(saved.frozen for saved in saves)
    pauses = [saved.pause_seconds * 1000 for saved in saves]
    return Row("grid: pause of a save, four writers", "ms", pauses, target=50.0)


def _many(ctx: Context, machine: Machine) -> Row:
    """Return what serves each of many environments of one root, all of them in use."""
    count = ctx.size(50, 5)
    made: list[Environment] = []
    try:
        for _ in range(count):
            made.append(machine.node.start(machine.spec(name=f"env{len(made)}")))
        for number, env in enumerate(made):
            said = machine.sh(env, "hostname; ls /bin | wc -l").out.split()
            assert said[0] == f"env{number}"
            assert int(said[1]) > 100
        kib = sum(_anonymous(pid) for pid in _serving(machine, made))
    finally:
        for env in made:
            machine.node.stop(env.id)
    return Row(
        f"grid: memory of each of {count} environments",
        "MiB",
        [kib / 1024 / count],
        target=40.0,
        flags="RssAnon of file systems, keeper and hubs; programs inside not counted",
    )


def _serving(machine: Machine, made: list[Environment]) -> set[int]:
    places = Places(str(machine.run_directory), str(machine.state))
    layout = read_layout()
    found: set[int] = set()
    for env in made:
        found |= Group(layout, places.of(env.id).service_cgroup).processes()
    keeper = orders.server_pid(places.keeper)
    assert keeper is not None
    found.add(keeper)
    for name in filter(str.isdigit, os.listdir("/proc")):
        words = _words(name)
        if b"hubfs.cli.hubfs" in words and os.fsencode(places.hub_mount) in words:
            found.add(int(name))
    return found


def _words(pid: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _anonymous(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
