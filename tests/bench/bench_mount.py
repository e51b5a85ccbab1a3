"""Fossil mounts: from score to first name, cold reads, many small files, saves, memory."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from multiprocessing import Process
from pathlib import Path

from tests.bench.context import Context, noise, words
from tests.bench.mounts import Machine, drop_all_caches, fuse_overlay, machine, memory_of
from tests.bench.rows import Row

MIB = 1 << 20
DEFAULTS = "fossil-mount with its defaults (default_permissions, disk scratch)"


def run(ctx: Context) -> Iterable[Row]:
    with machine(ctx) as m:
        few, many = _trees(ctx, m)
        yield from first_names(ctx, m, few, many)
        yield from saves(ctx, m, few, many)
        yield from cold_metadata(ctx, m)
        yield from small_files(ctx, m)
        yield from large_files(ctx, m)
        yield from writers(ctx, m)
        yield idle(m, few)
        yield memory(ctx, m)


def _trees(ctx: Context, m: Machine) -> tuple[str, str]:
    """Return the scores of 1,000 files, and of 100 directories of 1,000."""
    scores = []
    for folders in (1, ctx.size(100, 5)):
        top = m.home / f"tree{folders}"
        for folder in range(folders):
            where = top / f"d{folder}"
            where.mkdir(parents=True)
            for number in range(1000):
                (where / f"f{number}").write_bytes(b"%d %d\n" % (folder, number) * 20)
        scores.append(m.vac(top))
        shutil.rmtree(top)
    return scores[0], scores[1]


def first_names(ctx: Context, m: Machine, few: str, many: str) -> Iterable[Row]:
    def first_ls(score: str) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            with m.mounted(score) as point:
                subprocess.run(["ls", point], check=True, capture_output=True)
                return time.perf_counter() - began

        return measure

    def mount(score: str) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            with m.mounted(score):
                return time.perf_counter() - began

        return measure

    values = ctx.race({"many": first_ls(many), "few": first_ls(few), "mount": mount(many)})
    yield Row(
        "mount: fossil-mount + first ls, 100 directories of 1,000", "s", values["many"], target=0.4
    )
    yield Row(
        "mount: fossil-mount + first ls, beside 1,000 files",
        "s",
        values["many"],
        values["few"],
        "1,000 files",
        target=1.2,
        target_is="ratio",
    )
    yield Row("mount: fossil-mount is back", "s", values["mount"], target=0.04)


def saves(ctx: Context, m: Machine, few: str, many: str) -> Iterable[Row]:
    with m.mounted(few) as small, m.mounted(many) as large:
        count = 0

        def save(point: Path) -> Callable[[], float]:
            def measure() -> float:
                nonlocal count
                count += 1
                with (point / "d0" / "f500").open("r+b") as file:
                    file.write(b"%4096d" % count)
                began = time.perf_counter()
                m.run("fossil-save", point)
                return time.perf_counter() - began

            return measure

        values = ctx.race({"many": save(large), "few": save(small)}, runs=2 * ctx.runs)
    yield Row(
        "mount: save after one 4 KiB change, 100 directories of 1,000",
        "s",
        values["many"],
        target=0.15,
    )
    yield Row(
        "mount: save after one change, beside 1,000 files",
        "s",
        values["many"],
        values["few"],
        "1,000 files",
        target=1.5,
        target_is="ratio",
    )


def _stat_all(folder: Path) -> None:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        os.stat(folder / name)


def _read_all(folder: Path) -> None:
    for name in sorted(os.listdir(folder)):
        descriptor = os.open(folder / name, os.O_RDONLY)
        os.read(descriptor, 4096)
        os.close(descriptor)


def cold_metadata(ctx: Context, m: Machine) -> Iterable[Row]:
    """10,000 cold files beside fuse-overlayfs, and warm ones beside the disk."""
    source = m.home / "ten thousand"
    source.mkdir()
    for number, text in enumerate(words(ctx.size(10_000, 500))):
        (source / f"f{number}").write_bytes(text[:4096])
    score = m.vac(source)
    peer = ctx.peer("fuse-overlayfs") or "fuse-overlayfs is not installed"
    for what, work in (("stat", _stat_all), ("open + read + close", _read_all)):
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(min(ctx.runs, 3)):
            with m.mounted(score) as point:
                drop_all_caches()
                began = time.perf_counter()
                work(point)
                ours.append(time.perf_counter() - began)
            with ctx.scratch() as home, fuse_overlay(ctx, home, source) as overlay:
                if overlay is None:
                    continue
                drop_all_caches()
                began = time.perf_counter()
                work(overlay)
                theirs.append(time.perf_counter() - began)
        yield Row(
            f"mount: {what} of 10,000 files",
            "s",
            ours,
            theirs,
            peer,
            target=1.0,
            target_is="ratio",
            cache="all caches dropped",
            flags=DEFAULTS,
        )
    with m.mounted(score) as point:
        _read_all(point)
        _read_all(source)
        values = ctx.race({"ours": lambda: _read_all(point), "disk": lambda: _read_all(source)})
    yield Row(
        "mount: open + read 4 KiB + close, 10,000 files",
        "s",
        values["ours"],
        values["disk"],
        "the disk",
        target=2.0,
        target_is="ratio",
        flags=DEFAULTS,
    )


def small_files(ctx: Context, m: Machine) -> Iterable[Row]:
    """tar and rm of 6,000 small real files, beside the disk and fuse-overlayfs over it."""
    archive = m.home / "small.tar"
    names = _small_real_files(ctx.size(6000, 300))
    listing = b"\0".join(names)
    subprocess.run(
        ["tar", "-cf", archive, "-C", "/", "--null", "-T", "-"],
        input=listing,
        check=True,
        capture_output=True,
    )
    empty = m.home / "empty"
    empty.mkdir()
    peer = ctx.peer("fuse-overlayfs") or "fuse-overlayfs is not installed"
    disk = m.home / "disk"
    disk.mkdir()
    with (
        m.mounted(m.vac(empty)) as point,
        ctx.scratch() as home,
        fuse_overlay(ctx, home, empty) as overlay,
    ):
        places = {"ours": point, "disk": disk} | ({} if overlay is None else {"overlay": overlay})
        untar: dict[str, list[float]] = {name: [] for name in places}
        remove: dict[str, list[float]] = {name: [] for name in places}
        for turn in range(ctx.runs):
            for name, place in sorted(places.items(), key=lambda item: (turn + len(item[0])) % 3):
                target = place / f"t{turn}"
                target.mkdir()
                began = time.perf_counter()
                subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
                untar[name].append(time.perf_counter() - began)
                os.sync()
                began = time.perf_counter()
                subprocess.run(["rm", "-r", target], check=True)
                remove[name].append(time.perf_counter() - began)
    for what, values, limit in (("untar", untar, 6.0), ("rm -r", remove, None)):
        yield Row(
            f"mount: {what} of 6,000 small real files (beside the disk)",
            "s",
            values["ours"],
            values["disk"],
            "the disk",
            target=limit,
            target_is="ratio",
            flags=DEFAULTS,
        )
        yield Row(
            f"mount: {what} of 6,000 small real files (beside fuse-overlayfs)",
            "s",
            values["ours"],
            values.get("overlay", ()),
            peer,
            target=0.6,
            target_is="ratio",
            flags=DEFAULTS,
        )


def _small_real_files(count: int) -> list[bytes]:
    found: list[bytes] = []
    for folder, _, names in os.walk(b"/usr/share"):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.getsize(path) <= 16384:
                found.append(path[1:])
        if len(found) >= count:
            return found[:count]
    return found


def _read_through(path: Path, size: int) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        descriptor = os.open(path, os.O_RDONLY)
        while os.read(descriptor, size):
            pass
        os.close(descriptor)
        return path.stat().st_size / MIB / (time.perf_counter() - began)

    return measure


def _write_through(path: Path, total: int, size: int) -> Callable[[], float]:
    data = noise(MIB)[:size]

    def measure() -> float:
        path.unlink(missing_ok=True)
        began = time.perf_counter()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        for _ in range(total // size):
            os.write(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)
        return total / MIB / (time.perf_counter() - began)

    return measure


def large_files(ctx: Context, m: Machine) -> Iterable[Row]:
    size = ctx.size(1 << 30, 32 * MIB)
    source = m.home / "large"
    source.mkdir()
    (source / "file").write_bytes(noise(size))
    score = m.vac(source)

    def row(name: str, ours: list[float], disk: list[float], target: float, cache: str) -> Row:
        return Row(
            f"mount: {name}",
            "MiB/s",
            ours,
            disk,
            "the disk",
            better="higher",
            target=target,
            target_is="ratio",
            cache=cache,
            flags=f"{size // MIB} MiB of noise; {DEFAULTS}",
        )

    with m.mounted(score, "--size", "3G") as point:
        ours, disk = point / "file", source / "file"
        cold = ctx.race(
            {"ours": _read_through(ours, MIB), "disk": _read_through(disk, MIB)},
            prepare=lambda _: drop_all_caches(),
        )
        yield row("sequential read", cold["ours"], cold["disk"], 0.8, "all caches dropped")
        cached: list[float] = []
        for _ in range(ctx.runs):
            _touch_store(m)
            ctx.evict(ours)
            cached.append(_read_through(ours, MIB)())
        yield Row(
            "mount: sequential read, store cached",
            "MiB/s",
            cached,
            better="higher",
            target=1.4e9 / MIB,
            cache="store in the page cache, the file not",
            flags=f"{size // MIB} MiB of noise; {DEFAULTS}",
        )
        for step, limit in ((4096, 0.95), (MIB, 0.8)):
            _read_through(ours, MIB)()
            _read_through(disk, MIB)()
            warm = ctx.race({"ours": _read_through(ours, step), "disk": _read_through(disk, step)})
            yield row(
                f"sequential read by {step // 1024} KiB", warm["ours"], warm["disk"], limit, "warm"
            )
        for step, limit in ((MIB, 0.45), (4096, 0.8)):
            total = size if step == MIB else size // 4
            written = ctx.race(
                {
                    "ours": _write_through(point / "new", total, step),
                    "disk": _write_through(source / "new", total, step),
                },
                runs=min(ctx.runs, 3),
            )
            name = f"sequential write by {step // 1024} KiB, then fsync"
            yield row(name, written["ours"], written["disk"], limit, "warm")


def _touch_store(m: Machine) -> None:
    subprocess.run(
        ["cat", m.home / "data_home" / "venti" / "data.mdb"], check=True, stdout=subprocess.DEVNULL
    )


def _create(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"f{number}").write_bytes(b"x" * 1000)


def writers(ctx: Context, m: Machine) -> Iterable[Row]:
    empty = m.home / "empty"
    count = ctx.size(2000, 100)
    with m.mounted(m.vac(empty)) as point:
        turn = 0

        def create(processes: int) -> Callable[[], float]:
            def measure() -> float:
                nonlocal turn
                turn += 1
                folders = [point / f"t{turn}-{n}" for n in range(processes)]
                for folder in folders:
                    folder.mkdir()
                began = time.perf_counter()
                children = [Process(target=_create, args=(folder, count)) for folder in folders]
                for child in children:
                    child.start()
                for child in children:
                    child.join()
                return processes * count / (time.perf_counter() - began)

            return measure

        values = ctx.race({"four": create(4), "one": create(1)})
    yield Row(
        "mount: files created by four processes",
        "files/s",
        values["four"],
        values["one"],
        "one process",
        better="higher",
        target=1.0,
        target_is="ratio",
        flags=DEFAULTS,
    )


def idle(m: Machine, score: str) -> Row:
    with m.mounted(score) as point:
        subprocess.run(["ls", "-lR", point], check=True, capture_output=True)
        time.sleep(6)  # until what was touched is committed and forgotten
        pid = m.status(point)["pid"]
        return Row(
            "mount: RssAnon + RssShmem of an idle mount", "MiB", [memory_of(pid) / MIB], target=40
        )


def memory(ctx: Context, m: Machine) -> Row:
    """A RAM scratch of 100M above a root of 4 GiB that is read end to end."""
    size = ctx.size(4 << 30, 64 * MIB)
    source = m.home / "huge"
    source.mkdir()
    block = noise(64 * MIB)
    with (source / "file").open("wb") as file:
        for number in range(size // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    score = m.vac(source)
    (source / "file").unlink()
    with m.mounted(score, "--ram", "--size", "100M") as point:
        _read_through(point / "file", MIB)()
        used = memory_of(m.status(point)["pid"])
    return Row(
        "mount: memory after reading a 4 GiB root with --ram --size 100M",
        "MiB",
        [used / MIB],
        target=200,
        flags="RssAnon + RssShmem",
    )
