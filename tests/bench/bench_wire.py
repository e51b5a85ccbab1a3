"""Stores over a connection: beside the store itself, beside plain TCP, and beside Plan 9's server."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import trio

from lib9 import keys, places
from lib9.framing import frame
from tests.bench.context import Context, noise
from tests.bench.rows import Row
from tests.kit.plan9 import NEEDED, PLAN9, plan9_server
from venti_store import wire
from venti_store.interfaces import Block, BlockStore, Key
from venti_store.kind import Kind
from venti_store.open import open_store
from venti_store.score import BLAKE3, SHA1, Family
from venti_store.stores.lmdb.environment import create

BIN = Path(sysconfig.get_path("scripts"))
DELAY_MS = 20
GROUP = 32  # blocks in a call
CLIENTS = 8
AHEAD = 32  # requests under way of one classic client


def run(ctx: Context) -> Iterable[Row]:
    with ctx.scratch() as scratch:
        yield from _large_blocks(ctx, scratch)
        yield _check(ctx, scratch / "checked")
        yield from _classic(ctx, scratch)
        if os.access("/dev/fuse", os.R_OK | os.W_OK):
            yield from _far_mount(ctx, scratch)


def _blocks(family: Family, total: int, size: int, seed: int = 0) -> list[Block]:
    data = noise(total, seed)
    pieces = (data[at : at + size] for at in range(0, total, size))
    return [Block(family.score(piece), Kind.DATA, piece) for piece in pieces]


@contextmanager
def _served(
    store: Path, *addresses: str, options: Iterable[str | Path] = ()
) -> Iterator[list[str]]:
    """Serve a store as a process of its own; gives the addresses it listens on."""
    listen = [word for address in addresses for word in ("--listen", address)]
    process = subprocess.Popen(
        [BIN / "venti", "serve", store, *listen, *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield [process.stdout.readline().strip() for _ in addresses]
    finally:
        process.terminate()
        process.wait()


def _timed(address: str, work: Callable[[BlockStore], Awaitable[None]], total: int) -> float:
    """Return the bytes in a microsecond (MB/s) that `work` gets through, the opening not counted."""

    async def go() -> float:
        store = await open_store(address)
        began = perf_counter()
        await work(store)
        seconds = perf_counter() - began
        await store.aclose()
        return total / seconds / 1e6

    return trio.run(go)


def _large_blocks(ctx: Context, scratch: Path) -> Iterable[Row]:
    total = ctx.size(256 << 20, 4 << 20)
    blocks = _blocks(BLAKE3, total, 64 << 10)
    wanted = [Key(block.score, block.kind) for block in blocks]
    serial = iter(range(1000))

    async def read(store: BlockStore) -> None:
        for at in range(0, len(wanted), GROUP):
            await store.get_many(wanted[at : at + GROUP])

    async def write(store: BlockStore) -> None:
        for at in range(0, len(blocks), GROUP):
            await store.put_many(blocks[at : at + GROUP])
        await store.sync()

    def write_direct() -> float:
        path = scratch / f"direct{next(serial)}"
        create(str(path), BLAKE3)
        return _timed(str(path), write, total)

    def write_unix() -> float:
        path = scratch / f"unix{next(serial)}"
        create(str(path), BLAKE3)
        with _served(path, f"unix!{scratch}/w{next(serial)}") as (address,):
            return _timed(address, write, total)

    values = ctx.race({"ours": write_unix, "peer": write_direct}, runs=min(ctx.runs, 3))
    about = f"{total >> 20} MiB of noise in 64 KiB blocks, {GROUP} in a call"
    yield Row(
        "wire: write over a unix socket", "MB/s", values["ours"], values["peer"],
        "the store itself", better="higher", target=0.6, target_is="ratio",
        cache="new files", flags=about,
    )  # fmt: skip
    yield from _reads(ctx, scratch, next(scratch.glob("direct*")), read, total, about)


def _check(ctx: Context, store: Path) -> Row:
    """Every block is read and hashed, by a command that starts anew; the peer reads the file."""
    create(str(store), BLAKE3)
    part = ctx.size(256 << 20, 4 << 20)
    for seed in range(4):
        blocks = _blocks(BLAKE3, part, 64 << 10, seed)

        async def write(store: BlockStore) -> None:
            await store.put_many(blocks)  # noqa: B023  run before the next ones are made
            await store.sync()

        _timed(str(store), write, part)
    size = (store / "data.mdb").stat().st_blocks * 512

    def mb_per_second(*words: str | Path) -> float:
        began = perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return size / (perf_counter() - began) / 1e6

    values = ctx.race(
        {
            "ours": lambda: mb_per_second(BIN / "venti", "check", "-s", store),
            "peer": lambda: mb_per_second("cat", store / "data.mdb"),
        },
        prepare=lambda _: ctx.evict(store),
    )
    return Row(
        "wire: venti check", "MB/s", values["ours"], values["peer"], "cat of the store's file",
        better="higher", target=0.5, target_is="ratio", cache="cold",
        flags=f"{4 * part >> 20} MiB of noise in 64 KiB blocks",
    )  # fmt: skip


def _reads(
    ctx: Context,
    scratch: Path,
    store: Path,
    read: Callable[[BlockStore], Awaitable[None]],
    total: int,
    about: str,
) -> Iterable[Row]:
    server, client = (
        keys.create(str(scratch / "server")),
        keys.create(str(scratch / "spawngrid/key")),
    )
    guests = scratch / "guests"
    guests.write_text(f"user=bench pubkey={keys.format_key(client.public)} right=venti\n")
    options = ("--key", scratch / "server", "--peers", guests)
    addresses = (f"unix!{scratch}/r", "tcp!127.0.0.1!0", "noise!127.0.0.1!0")
    with _served(store, *addresses, options=options) as (unix, tcp, secure):
        record = f"sys=server dial={secure} pubkey={keys.format_key(server.public)}\n"
        (scratch / "spawngrid/ndb").write_text(record)
        places.use({**os.environ, "XDG_CONFIG_HOME": str(scratch)})
        places_of = {"direct": str(store), "unix": unix, "tcp": tcp, "noise": secure}
        values = ctx.race(
            {n: lambda a=address: _timed(a, read, total) for n, address in places_of.items()}  # type: ignore[misc]
        )
    for target, target_is in ((0.2, "ratio"), (600, "ours")):
        yield Row(
            "wire: read over a unix socket", "MB/s", values["unix"], values["direct"],
            "the store itself", better="higher", target=target, target_is=target_is, flags=about,  # type: ignore[arg-type]
        )  # fmt: skip
    for target, target_is in ((0.6, "ratio"), (250, "ours")):
        yield Row(
            "wire: read over noise", "MB/s", values["noise"], values["tcp"],
            "plain tcp", better="higher", target=target, target_is=target_is, flags=about,  # type: ignore[arg-type]
        )  # fmt: skip


def _classic(ctx: Context, scratch: Path) -> Iterable[Row]:
    """Reads of 8 KiB blocks in version 04 by clients that do nothing else, from both servers."""
    total = ctx.size(64 << 20, 2 << 20)
    blocks = _blocks(SHA1, total, 8 << 10)
    create(str(scratch / "sha1"), SHA1)

    async def write(store: BlockStore) -> None:
        await store.put_many(blocks)
        await store.sync()

    peer, theirs = "plan9port's venti: not here ($PLAN9)", []
    with _served(scratch / "sha1", "tcp!127.0.0.1!0") as (ours,):
        _timed(ours, write, total)
        contestants = {"ours": lambda: _classic_reads(ours, blocks)}
        if all((PLAN9 / "bin" / name).exists() for name in NEEDED):
            peer = "plan9port's venti"
            with plan9_server(scratch) as address:
                _timed(address, write, total)
                contestants["peer"] = lambda: _classic_reads(address, blocks)
                values = ctx.race(contestants)
                theirs = values["peer"]
        else:
            values = ctx.race(contestants)
    yield Row(
        "wire: classic reads, 8 clients", "MB/s", values["ours"], theirs, peer,
        better="higher", target=1.0, target_is="ratio",
        flags=f"04, sha1, {total >> 20} MiB in 8 KiB blocks, {AHEAD} requests ahead",
    )  # fmt: skip


def _far_mount(ctx: Context, scratch: Path) -> Iterable[Row]:
    """A cold mount and one look at everything in it, through a relay that delivers late."""
    directories, files = ctx.size(200, 20), 25
    for n in range(directories):
        folder = scratch / f"far/{n // 20}/{n}"
        folder.mkdir(parents=True)
        for m in range(files):
            (folder / f"file{m}").write_text(f"{n} {m}\n" * 20)
    create(str(scratch / "farstore"), BLAKE3)
    vac = [BIN / "vac", "-s", scratch / "farstore", scratch / "far"]
    done = subprocess.run(vac, check=True, capture_output=True, text=True)
    score = done.stdout.split()[-1]
    with _served(scratch / "farstore", "tcp!127.0.0.1!0") as (address,):
        port = address.split("!")[2]
        with _relayed(port, 0) as near, _relayed(port, DELAY_MS) as far:
            values = ctx.race(
                {
                    "ours": lambda: _look_at_all(scratch, far, score),
                    "peer": lambda: _look_at_all(scratch, near, score),
                }
            )
    yield Row(
        "wire: cold mount, find -ls", "s", values["ours"], values["peer"],
        "the same relay without delay", target=4, target_is="ratio", cache="cold",
        flags=f"{directories * files} files in {directories} directories, {DELAY_MS} ms one way, cached!",
    )  # fmt: skip


@contextmanager
def _relayed(port: str, delay_ms: int) -> Iterator[str]:
    """Relay to `port`; gives the relay's own."""
    words = [sys.executable, "-m", "tests.kit.relay", port, str(delay_ms)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def _look_at_all(scratch: Path, port: str, score: str) -> float:
    """Return the seconds from before the mount to after the last line."""
    home, mount = scratch / "home", scratch / "mnt"
    shutil.rmtree(home, ignore_errors=True)
    mount.mkdir(exist_ok=True)
    places_ = ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME")
    environ = {**os.environ, **{name: str(home / name) for name in places_}}
    home.mkdir()
    (home / "XDG_RUNTIME_DIR").mkdir(mode=0o700)
    store = f"cached!64M!tcp!127.0.0.1!{port}"
    began = perf_counter()
    words = [BIN / "fossil-mount", "--ro", "-s", store, score, mount]
    subprocess.run(words, check=True, env=environ, capture_output=True)
    try:
        subprocess.run(["find", mount, "-ls"], check=True, stdout=subprocess.DEVNULL)
        return perf_counter() - began
    finally:
        subprocess.run([BIN / "fossil-umount", mount], check=True, env=environ, capture_output=True)


def _classic_reads(address: str, blocks: list[Block]) -> float:
    """Return MB/s over all clients, each of which reads its part of the blocks."""
    _, host, port = address.split("!")
    parts = [blocks[n::CLIENTS] for n in range(CLIENTS)]
    threads = [threading.Thread(target=_client, args=(host, int(port), part)) for part in parts]
    began = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(len(block.data) for block in blocks) / (perf_counter() - began) / 1e6


def _client(host: str, port: int, blocks: list[Block]) -> None:
    version = wire.VERSIONS["04"]

    def raw(tag: int, message: wire.Message) -> bytes:
        return frame(wire.pack(version, tag, message), prefix_size=4, body_size_max=1 << 20)

    with socket.create_connection((host, port)) as sock:
        sock.sendall(b"venti-04-bench\n" + raw(0, wire.Hello("04")))
        with sock.makefile("rb") as stream:
            stream.readline()
            stream.read(int.from_bytes(stream.read(4), "big"))
            for at in range(0, len(blocks), AHEAD):
                part = blocks[at : at + AHEAD]
                asks = (raw(tag, wire.Read(b.score, b.kind, 8192)) for tag, b in enumerate(part))
                sock.sendall(b"".join(asks))
                for _ in part:
                    body = stream.read(int.from_bytes(stream.read(4), "big"))
                    assert body[0] == 13, body
