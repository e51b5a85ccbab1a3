"""The FUSE engine alone, over a file system in memory: with the shim, and on stock pyfuse3."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.context import Context
from tests.bench.rows import Row
from tests.lib9.mounting import Memfs

STOCK = "stock pyfuse3"
FLAGS = "memfs, default_permissions"
MIB = 1 << 20
Work = Callable[[Path, int], None]


def run(ctx: Context) -> Iterable[Row]:
    count = ctx.size(2000, 100)
    yield against_stock(ctx, "stat, cold", stat_all, count, 0.6)
    yield against_stock(ctx, "open + read 4 KiB + close, cold", read_all, count, 0.6)
    yield against_stock(ctx, "create, write 4 KiB, close", create_all, count, 0.6)
    yield warm(ctx, count)
    yield four_at_once(ctx, count)
    size = ctx.size(256 * MIB, 16 * MIB)
    yield stream(ctx, "write 1 MiB at a time", write_stream, size)
    yield stream(ctx, "read 1 MiB at a time, not cached", read_stream, size)


@contextmanager
def mounted(ctx: Context, engine: str, count: int, *options: str) -> Iterator[Memfs]:
    with ctx.scratch() as folder:
        point = folder / "mnt"
        point.mkdir()
        populate = ("--populate", str(count))
        with Memfs(point, engine, options, arguments=populate) as memfs:
            yield memfs


def stat_all(folder: Path, count: int) -> None:
    names = os.fsencode(folder) + b"/f%d"
    for number in range(count):
        os.stat(names % number)


def read_all(folder: Path, count: int) -> None:
    names = os.fsencode(folder) + b"/f%d"
    for number in range(count):
        descriptor = os.open(names % number, os.O_RDONLY)
        os.read(descriptor, 4096)
        os.close(descriptor)


def create_all(folder: Path, count: int) -> None:
    names, data = os.fsencode(folder) + b"/new%d", bytes(4096)
    for number in range(count):
        descriptor = os.open(names % number, os.O_CREAT | os.O_WRONLY | os.O_EXCL)
        os.write(descriptor, data)
        os.close(descriptor)


def write_stream(folder: Path, size: int) -> None:
    data = memoryview(bytes(MIB))
    descriptor = os.open(folder / "zero", os.O_WRONLY)
    for _ in range(size // MIB):
        os.write(descriptor, data)
    os.close(descriptor)


def read_stream(folder: Path, size: int) -> None:
    descriptor = os.open(folder / "zero", os.O_RDONLY)  # what was cached is dropped by that
    for _ in range(size // MIB):
        os.read(descriptor, MIB)
    os.close(descriptor)


def against_stock(ctx: Context, name: str, work: Work, count: int, target: float) -> Row:
    """Each run works in a folder that the kernel has not seen yet."""
    with (
        mounted(ctx, "shim", count, "no_open") as ours,
        mounted(ctx, "stock", count) as theirs,
    ):
        folders = {"ours": iter(range(40)), "peer": iter(range(40))}
        points = {"ours": ours.point, "peer": theirs.point}

        def contestant(who: str) -> Callable[[], float]:
            def measure() -> float:
                folder = points[who] / f"d{next(folders[who])}"
                return ctx.microseconds(lambda: work(folder, count), 1)() / count

            return measure

        values = ctx.race({who: contestant(who) for who in points})
    return Row(
        f"engine: {name}",
        "us",
        values["ours"],
        values["peer"],
        STOCK,
        target=target,
        target_is="ratio",
        cache="cold" if "cold" in name else "warm",
        flags=f"{count} files; {FLAGS}, no_open with the shim",
    )


def warm(ctx: Context, count: int) -> Row:
    with mounted(ctx, "shim", count, "no_open") as ours, ctx.scratch() as disk:
        for number in range(count):
            (disk / f"f{number}").write_bytes(bytes(4096))
        for folder in (ours.point / "d0", disk):
            read_all(folder, count)

        def contestant(folder: Path) -> Callable[[], float]:
            return lambda: ctx.microseconds(lambda: read_all(folder, count), 1)() / count

        values = ctx.race({"ours": contestant(ours.point / "d0"), "peer": contestant(disk)})
    return Row(
        "engine: open + read 4 KiB + close, warm",
        "us",
        values["ours"],
        values["peer"],
        "the disk's own file system",
        target=2.0,
        target_is="ratio",
        flags=f"{count} files; memfs, default_permissions, no_open",
    )


def four_at_once(ctx: Context, count: int) -> Row:
    """Four processes in folders of their own, against one that does the work of all."""
    with mounted(ctx, "shim", 1, "no_open") as memfs:
        fresh = iter(range(10_000))

        def new_folder() -> Path:
            folder = memfs.point / f"four{next(fresh)}"
            folder.mkdir()
            return folder

        def four() -> float:
            folders = [new_folder() for _ in range(4)]

            def work() -> None:
                children = [fork_and_create(folder, count // 4) for folder in folders]
                for child in children:
                    os.waitpid(child, 0)

            return ctx.microseconds(work, 1)() / count

        def one() -> float:
            folder = new_folder()
            work = lambda: os.waitpid(fork_and_create(folder, count), 0)  # noqa: E731
            return ctx.microseconds(work, 1)() / count

        values = ctx.race({"ours": four, "peer": one})
    return Row(
        "engine: create, four processes",
        "us",
        values["ours"],
        values["peer"],
        "one process",
        target=1.0,
        target_is="ratio",
        flags=f"{count} files in all; {FLAGS}, no_open",
    )


def fork_and_create(folder: Path, count: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            create_all(folder, count)
        finally:
            os._exit(0)
    return child


def stream(ctx: Context, name: str, work: Work, size: int) -> Row:
    with mounted(ctx, "shim", 1) as ours, mounted(ctx, "stock", 1) as theirs:

        def contestant(folder: Path) -> Callable[[], float]:
            return lambda: size / ctx.microseconds(lambda: work(folder, size), 1)()

        values = ctx.race({"ours": contestant(ours.point), "peer": contestant(theirs.point)})
    return Row(
        f"engine: {name}",
        "MB/s",
        values["ours"],
        values["peer"],
        STOCK,
        better="higher",
        target=1.0,
        target_is="ratio",
        flags=f"{size // MIB} MiB; {FLAGS}",
    )
