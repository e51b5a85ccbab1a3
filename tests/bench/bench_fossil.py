"""A fossil mount at a day's work: databases, git, large directories, snapshots, several clients."""

import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench.context import Context, words
from tests.bench.mounts import Machine, drop_all_caches, machine, memory_of
from tests.bench.rows import Row

MIB = 1 << 20
PAGE = 4096
SYNC_EVERY = 100  # writes
CLIENTS = 4


def run(ctx: Context) -> Iterable[Row]:
    with machine(ctx) as m:
        empty = m.home / "empty"
        empty.mkdir()
        nothing = m.vac(empty)
        yield snapshots(ctx, m, nothing)
        yield random_writes(ctx, m, nothing)
        yield from git(ctx, m)
        yield large_directory(ctx, m)
        yield memory(ctx, m)
        yield from clients(ctx, m, nothing)


def random_writes(ctx: Context, m: Machine, nothing: str) -> Row:
    size = ctx.size(1024, 64) * MIB
    count = ctx.size(4000, 400)

    def write(folder: Path) -> Callable[[], float]:
        chance = random.Random(1)

        def measure() -> float:
            path = folder / "database"
            descriptor = os.open(path, os.O_RDWR)
            began = time.perf_counter()
            for number in range(count):
                os.pwrite(descriptor, b"x" * PAGE, chance.randrange(size // PAGE) * PAGE)
                if number % SYNC_EVERY == SYNC_EVERY - 1:
                    os.fsync(descriptor)
            seconds = time.perf_counter() - began
            os.close(descriptor)
            return count / seconds

        return measure

    native = m.home / "native"
    native.mkdir()
    with m.mounted(nothing, "--size", "4G") as point:
        for folder in (native, point):
            with open(folder / "database", "wb") as file:
                file.writelines(os.urandom(MIB) for _ in range(size // MIB))
                os.fsync(file.fileno())
        values = ctx.race({"ours": write(point), "ext4": write(native)})
    shutil.rmtree(native)
    return Row(
        "fossil: 4 KiB random writes in a file of 1 GiB, fsync every 100",
        "/s",
        values["ours"],
        values["ext4"],
        "the disk's own file system",
        target=0.3,
        target_is="ratio",
        better="higher",
    )


def git(ctx: Context, m: Machine) -> Iterable[Row]:
    count = ctx.size(6000, 500)
    tree = m.home / "checkout"
    for number, content in enumerate(words(count, 4)):
        path = tree / f"d{number % 60}" / f"e{number % 7}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def in_git(where: Path, *said: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-c", "gc.auto=0", *said],
            cwd=where,
            check=True,
            capture_output=True,
            env={**m.environment, "GIT_OPTIONAL_LOCKS": "1"},
        )

    in_git(tree, "init", "-q")
    in_git(tree, "add", "-A")
    in_git(tree, "commit", "-qm", "all")
    with m.mounted(m.vac(tree), "--size", "4G") as point:
        for where in (tree, point):
            for _ in range(2):
                in_git(where, "status")
        values = ctx.race(
            {"ours": lambda: in_git(point, "status"), "ext4": lambda: in_git(tree, "status")}
        )
    shutil.rmtree(tree)
    yield Row(
        f"fossil: git status in a checkout of {count:,} files, warm",
        "s",
        values["ours"],
        values["ext4"],
        "the disk's own file system",
        target=2.0,
        target_is="ratio",
    )


def large_directory(ctx: Context, m: Machine) -> Row:
    scores = {}
    sizes = {"many": ctx.size(100_000, 5_000), "few": 100}
    for name, count in sizes.items():
        top = m.home / f"large-{name}"
        top.mkdir()
        for number in range(count):
            (top / f"name{number:06}").touch()
        scores[name] = m.vac(top)
        shutil.rmtree(top)

    def lookup(name: str) -> Callable[[], float]:
        def measure() -> float:
            drop_all_caches()
            with m.mounted(scores[name]) as point:
                path = point / f"name{sizes[name] // 2 + 7:06}"
                os.statvfs(point)  # the daemon has started
                began = time.perf_counter()
                os.stat(path)
                return (time.perf_counter() - began) * 1e3

        return measure

    values = ctx.race({name: lookup(name) for name in sizes})
    return Row(
        "fossil: lookup of one name in a directory of 100,000, cold",
        "ms",
        values["many"],
        values["few"],
        "one of 100",
        target=5.0,
        target_is="ratio",
    )


def snapshots(ctx: Context, m: Machine, nothing: str) -> Row:
    """`snap` as the daemon takes it, 10,000 files and a large one changed before each."""
    from fossil_fs.mounting.console import Console
    from fossil_fs.mounting.registry import Registry

    count = ctx.size(10_000, 500)
    with m.mounted(nothing, "--size", "4G") as point:
        with open(point / "large", "wb") as file:
            file.writelines(os.urandom(MIB) for _ in range(ctx.size(1024, 64)))
        for number in range(count):
            (point / f"f{number}").write_bytes(b"x" * 2000)
        registry = Registry(str(m.home / "runtime_dir" / "spawngrid"))
        running = next(one for one in registry.all() if one.mnt == str(point))
        console = Console(registry.path(running.id, "sock"))

        def change(_name: str) -> None:
            console.ask("sync")
            for number in range(0, count, 10):
                with open(point / f"f{number}", "r+b") as file:
                    file.write(b"y")
            with open(point / "large", "r+b") as file:
                for number in range(100):
                    file.seek(number * 7 * MIB // 8)
                    file.write(b"y" * PAGE)

        def snap() -> float:
            began = time.perf_counter()
            console.ask("snap")
            return (time.perf_counter() - began) * 1e3

        values = ctx.race({"snap": snap}, prepare=change)["snap"]
        console.close()
    return Row("fossil: snap, 10,000 files and 1 GiB changed", "ms", values, target=20)


def memory(ctx: Context, m: Machine) -> Row:
    top = m.home / "inodes"
    count = ctx.size(50_000, 2_000)
    for number in range(count):
        path = top / f"d{number % 100}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with m.mounted(m.vac(top)) as point:
        pid = m.status(point)["pid"]
        os.listdir(point)
        before = memory_of(pid)
        subprocess.run(["find", str(point), "-size", "+1G"], check=True, capture_output=True)
        per_thousand = (memory_of(pid) - before) / count * 1000 / MIB
    shutil.rmtree(top)
    return Row(
        "fossil: memory for 1,000 inodes that the kernel knows", "MiB", [per_thousand], target=1
    )


def clients(ctx: Context, m: Machine, nothing: str) -> Iterable[Row]:
    """fs_mark with four threads, and dbench with four clients, beside the stock engine."""

    def fs_mark(engine: str) -> Callable[[], float]:
        def measure() -> float:
            with m.mounted(nothing, "--size", "4G", engine=engine) as point:
                command = ["fs_mark", "-d", point, "-t", CLIENTS, "-S", 0, "-s", PAGE, "-k"]
                command += ["-n", ctx.size(1000, 100)]
                said = subprocess.run(
                    list(map(str, command)),
                    check=True,
                    capture_output=True,
                    text=True,
                    cwd=m.home,
                ).stdout
            last = [line.split() for line in said.splitlines() if re.match(r"^\s*\d+\s+\d+", line)]
            return float(last[-1][3])

        return measure

    def dbench(engine: str) -> Callable[[], float]:
        def measure() -> float:
            with m.mounted(nothing, "--size", "4G", engine=engine) as point:
                said = subprocess.run(
                    ["dbench", "-D", str(point), "-t", str(ctx.size(10, 3)), str(CLIENTS)],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            found = re.search(r"Throughput ([\d.]+) MB/sec", said)
            assert found is not None, said
            return float(found[1])

        return measure

    for program, unit, what in (
        ("fs_mark", "files/s", fs_mark),
        ("dbench", "MB/s", dbench),
    ):
        if shutil.which(program) is None:
            ctx.say(f"{program}: not installed")
            continue
        values = ctx.race({"ours": what("shim"), "stock": what("stock")}, runs=min(ctx.runs, 3))
        yield Row(
            f"fossil: {program} with four clients",
            unit,
            values["ours"],
            values["stock"],
            "the stock engine",
            target=2.0,
            target_is="ratio",
            better="higher",
        )
