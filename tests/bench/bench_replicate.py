"""Replication: a whole store beside rsync, nothing new, one change, three peers far away."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib9.waiting import run_now
from tests.bench.context import Context, noise
from tests.bench.rows import Row
from tests.kit.nodes import Node, nodes_on, wait_for
from venti_store.stores.lmdb.store import LmdbStore

DELAY_MS = 20
SECONDS_MAX = 120


def run(ctx: Context) -> Iterable[Row]:
    with ctx.scratch() as scratch:
        yield from _whole_store(ctx, scratch / "whole")
    if os.access("/dev/fuse", os.R_OK | os.W_OK):
        with ctx.scratch() as scratch:
            yield from _one_change(ctx, scratch)
        with ctx.scratch() as scratch:
            yield from _three_peers(ctx, scratch)


def _whole_store(ctx: Context, scratch: Path) -> Iterable[Row]:
    total = ctx.size(1 << 30, 16 << 20)
    files, each = scratch / "files", 16 << 20
    files.mkdir(parents=True)
    for number in range(max(total // each, 1)):
        (files / str(number)).write_bytes(noise(min(each, total), seed=number))
    megabytes = total / 1e6
    peer = ctx.peer("rsync")
    serial = iter(range(1000))
    with nodes_on(None, scratch, "a", "b") as (a, b), ExitStack() as stack:
        a.knows((b, ""))
        b.knows((a, ""))
        a("vac", "-a", "files", files)
        a.serve()

        def ours() -> float:
            store, info = b.folder / f"store{next(serial)}", b.folder / "server.info"
            info.unlink(missing_ok=True)
            b("venti", "init", store)
            began = time.perf_counter()
            b("ventiprog", "-s", store, "-f", info, "--pull", a.address)
            return megabytes / (time.perf_counter() - began)

        def theirs(*options: str) -> float:
            target = scratch / f"rsync{next(serial)}"
            began = time.perf_counter()
            ctx.command("rsync", "-a", *options, "rsync://127.0.0.1:18730/files/", target)
            return megabytes / (time.perf_counter() - began)

        def prepare(_: str) -> None:
            for old in (*scratch.glob("rsync*"), *b.folder.glob("store*")):
                if old.is_dir():
                    shutil.rmtree(old)
            os.sync()

        wait_for(lambda: b.run("ventiprog", "-f", b.folder / "x", a.address).returncode != 10, "it")
        contestants: dict[str, Callable[[], float | None]] = {"ours": ours}
        if peer is not None:
            stack.enter_context(_rsyncd(scratch, files))
            contestants |= {"peer": theirs, "synced": lambda: theirs("--fsync")}
        values = ctx.race(contestants, prepare=prepare, runs=min(ctx.runs, 3))
        about = f"{total >> 20} MiB of noise, over noise! on loopback; rsyncd without -z"
        for target, target_is in ((0.5, "ratio"), (150, "ours")):
            yield Row(
                "replicate: a whole store", "MB/s", values["ours"], values.get("peer", ()),
                peer or "rsync is not here", better="higher", target=target, target_is=target_is,  # type: ignore[arg-type]
                flags=about,
            )  # fmt: skip
        yield Row(
            "replicate: a whole store (beside a durable copy)", "MB/s", values["ours"],
            values.get("synced", ()), f"{peer} --fsync", better="higher", flags=about,
        )  # fmt: skip
        b("ventiprog", "-f", b.folder / "again", "--pull", a.address)

        def again() -> None:
            b("ventiprog", "-f", b.folder / "again", "--pull", a.address)

        nothing = ctx.race({"ours": again})
        yield Row(
            "replicate: again, nothing new", "s", nothing["ours"], target=0.3,
            flags="ventiprog as a command, 1 GiB store",
        )  # fmt: skip


@contextmanager
def _rsyncd(scratch: Path, files: Path) -> Iterator[None]:
    config = scratch / "rsyncd.conf"
    config.write_text(f"use chroot = no\n[files]\npath = {files}\nread only = yes\n")
    words = [
        "rsync",
        "--daemon",
        "--no-detach",
        f"--config={config}",
        "--port=18730",
        "--address=127.0.0.1",
    ]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield
    finally:
        process.terminate()
        process.wait()


def _tree(ctx: Context, folder: Path) -> str:
    directories, files = ctx.size(100, 5), ctx.size(1000, 20)
    for d in range(directories):
        (folder / str(d)).mkdir(parents=True)
        for f in range(files):
            (folder / str(d) / str(f)).write_bytes(b"%d %d\n" % (d, f))
    return f"{directories} directories of {files} files"


@contextmanager
def _mounted(node: Node, score: str, mount: Path) -> Iterator[None]:
    mount.mkdir()
    node("fossil-mount", score, mount)
    try:
        yield
    finally:
        node("fossil-umount", "--discard", mount)


@contextmanager
def _relay(port: int, delay_ms: float) -> Iterator[tuple[int, Callable[[], int]]]:
    """A relay to `port`; gives its own, and what tells the bytes it has carried."""
    words = [sys.executable, "-m", "tests.kit.relay", str(port), str(delay_ms), "--count"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def count() -> int:
        stdin.write("\n")
        stdin.flush()
        return int(stdout.readline())

    try:
        yield int(stdout.readline()), count
    finally:
        process.kill()
        process.wait()
        stdin.close()
        stdout.close()


class _Watch:
    """Sees names arrive in the log of a node's store."""

    def __init__(self, node: Node) -> None:
        self._store = LmdbStore(str(node.store))
        self._end = self._store.last_number()

    def arrived(self, score: str) -> bool:
        digits = score.removeprefix("vac:").encode()
        return any(digits in record.data for record in self._store.names(self._end + 1))

    def close(self) -> None:
        run_now(self._store.aclose())


def _follow(a: Node, followers: list[Node], ports: list[int]) -> None:
    """Let nodes follow `a`, each through a relay of its own."""
    from lib9 import keys

    for node, port in zip(followers, ports, strict=True):
        key = keys.format_key(a.key.public)
        (node.folder / "config/spawngrid/ndb").write_text(
            f"sys=a dial=noise!127.0.0.1!{port} pubkey={key} right=venti right=names replicate=pull\n"
        )
        node.replicate()
    for node in followers:
        wait_for(lambda n=node: _current(n), f"{node.name} to have everything", SECONDS_MAX)  # type: ignore[misc]


def _current(node: Node) -> bool:
    done = node.run("replicate", "--status")
    return done.returncode == 0 and ": current" in done.stdout


def _saved_and_there(a: Node, mount: Path, number: int, watches: list[_Watch]) -> float:
    """Change 4 KiB, save, and return the seconds until the name is in every log."""
    with (mount / "3" / "7").open("r+b") as file:
        file.write(noise(4096, seed=number))
    began = time.perf_counter()
    score = a("fossil-save", mount, "work")
    while not all(watch.arrived(score) for watch in watches):
        assert time.perf_counter() - began < SECONDS_MAX
        time.sleep(0.001)
    return time.perf_counter() - began


def _one_change(ctx: Context, scratch: Path) -> Iterable[Row]:
    about = _tree(ctx, scratch / "files")
    with nodes_on(None, scratch, "a", "b") as (a, b), _relay(a.port, 0) as (port, count):
        a.knows((b, ""))
        score = a("vac", "-a", "work", scratch / "files").splitlines()[-1]
        a.serve()
        _follow(a, [b], [port])
        watch = _Watch(b)
        seconds, carried = [], []
        with _mounted(a, score, scratch / "mnt"):
            _saved_and_there(a, scratch / "mnt", 1000, [watch])
            for number in range(ctx.runs):
                before = count()
                seconds.append(_saved_and_there(a, scratch / "mnt", number, [watch]))
                carried.append((count() - before) / (1 << 20))
        watch.close()
    yield Row(
        "replicate: one 4 KiB change, save to visible", "s", seconds, target=0.25,
        flags=f"{about}; fossil-save as a command, noise on loopback",
    )  # fmt: skip
    yield Row(
        "replicate: one 4 KiB change, on the wire", "MiB", carried, target=2,
        flags=f"{about}; both ways",
    )  # fmt: skip


def _three_peers(ctx: Context, scratch: Path) -> Iterable[Row]:
    about = _tree(ctx, scratch / "files")
    saves = ctx.size(20, 3)
    with nodes_on(None, scratch, "a", "b", "c", "d") as (a, *others), ExitStack() as stack:
        a.knows(*((node, "") for node in others))
        score = a("vac", "-a", "work", scratch / "files").splitlines()[-1]
        a.serve()
        ports = [stack.enter_context(_relay(a.port, DELAY_MS))[0] for _ in others]
        _follow(a, others, ports)
        watches = [_Watch(node) for node in others]
        with _mounted(a, score, scratch / "mnt"):
            seconds = [
                _saved_and_there(a, scratch / "mnt", number, watches) for number in range(saves)
            ]
        for watch in watches:
            watch.close()
    p95 = sorted(seconds)[max(0, round(0.95 * len(seconds)) - 1)]
    yield Row(
        "replicate: save to visible on three peers, p95", "s", [p95], target=1,
        flags=f"{saves} saves, {DELAY_MS} ms one way; {about}",
    )  # fmt: skip
