"""Hubs beside kernel pipes: latency to a blocked reader, streams, messages, many readers, idling."""

import os
import select
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.context import Context
from tests.bench.rows import Row
from tests.commands import run as command
from tests.kit.hubs import daemon_of, hub_mount

PIPE = "kernel pipe"
READERS = 100
STALLED = 1000

# a process that reads a file in large pieces until it has had so many bytes
_READ = (
    "import os,sys; f=os.open(sys.argv[1],0); n=int(sys.argv[2])\nwhile n: n-=len(os.read(f,1<<19))"
)


def run(ctx: Context) -> Iterable[Row]:
    with ctx.scratch() as scratch:
        with hub_mount(scratch / "latency") as hubs:
            yield from _latency(ctx, hubs)
        with hub_mount(scratch / "large", "-q", "64M") as hubs:
            yield _stream(ctx, hubs)
            yield _messages(ctx, hubs)
            yield _many(ctx, hubs)
        with hub_mount(scratch / "idle") as hubs:
            yield _idle(ctx, hubs)
            yield from _stalled(ctx, hubs)
        with hub_mount(scratch / "shell") as hubs:
            yield _shell(ctx, hubs, scratch)


def _latency(ctx: Context, hubs: Path) -> Iterable[Row]:
    count = ctx.size(3000, 100)
    (hubs / "latency").touch()
    pipe_reader, pipe_writer = os.pipe()
    hub_writer = os.open(hubs / "latency", os.O_WRONLY | os.O_APPEND)
    hub_reader = os.open(hubs / "latency", os.O_RDONLY)
    worst: dict[str, list[float]] = {"hub": [], PIPE: []}

    def measure(name: str, reader: int, writer: int) -> float:
        took = _times(reader, writer, count)
        worst[name].append(took[int(len(took) * 0.99)])
        return statistics.median(took)

    values = ctx.race(
        {
            "hub": lambda: measure("hub", hub_reader, hub_writer),
            PIPE: lambda: measure(PIPE, pipe_reader, pipe_writer),
            "one FUSE call": lambda: _stat(hubs / "latency", count),
        }
    )
    for descriptor in (pipe_reader, pipe_writer, hub_reader, hub_writer):
        os.close(descriptor)
    name = "hub: write to blocked reader"
    yield Row(f"{name}, p50", "us", values["hub"], values[PIPE], PIPE, target=150)
    yield Row(f"{name}, p99", "us", worst["hub"], worst[PIPE], PIPE, target=2000)
    yield Row("hub: bare FUSE round trip (stat)", "us", values["one FUSE call"])


def _times(reader: int, writer: int, count: int) -> list[float]:
    """Return, sorted, the microseconds from before a write until a blocked reader has it."""
    arrived: list[int] = []

    def receive() -> None:
        for _ in range(count):
            os.read(reader, 100)
            arrived.append(time.perf_counter_ns())

    thread = threading.Thread(target=receive)
    thread.start()
    took = []
    for n in range(count):
        began = time.perf_counter_ns()
        os.write(writer, b"x")
        while True:  # asleep: a writer that spun would take the processor that the reader needs
            time.sleep(0.0005)
            if len(arrived) > n:
                break
        took.append((arrived[n] - began) / 1000)
    thread.join()
    return sorted(took)


def _stat(path: Path, count: int) -> float:
    took = []
    for _ in range(count):
        began = time.perf_counter_ns()
        os.stat(path)
        took.append((time.perf_counter_ns() - began) / 1000)
    return statistics.median(took)


def _reader(path: str, total: int, descriptors: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", _READ, path, str(total)]
    return subprocess.Popen(words, pass_fds=descriptors)


def _status(hubs: Path, name: str) -> list[str]:
    lines = (hubs / "ctl").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{name}: ")).split()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _send(ctx: Context, hubs: Path, name: str, piece: int, total: int) -> float:
    """Return the seconds that one writer and one reader of a new hub take; nothing may be lost."""
    (hubs / name).touch()
    reader = _reader(str(hubs / name), total)
    _until(lambda: _status(hubs, name)[4] == "1")
    writer = os.open(hubs / name, os.O_WRONLY | os.O_APPEND)
    data = bytes(piece)
    began = time.perf_counter()
    for _ in range(total // piece):
        os.write(writer, data)
    # the reader's end is the proof that it had every byte
    assert reader.wait(120) == 0
    seconds = time.perf_counter() - began
    os.close(writer)
    (hubs / name).unlink()
    return seconds


def _through_pipe(piece: int, total: int) -> float:
    source, sink = os.pipe()
    reader = _reader(f"/dev/fd/{source}", total, (source,))
    data = bytes(piece)
    time.sleep(0.2)  # its interpreter starts, as it has for the hub
    began = time.perf_counter()
    for _ in range(total // piece):
        os.write(sink, data)
    assert reader.wait(120) == 0
    seconds = time.perf_counter() - began
    os.close(source)
    os.close(sink)
    return seconds


def _stream(ctx: Context, hubs: Path) -> Row:
    total = ctx.size(60 << 20, 1 << 20)  # what the hub keeps: nothing can be lost
    values = ctx.race(
        {
            "hub": lambda: total / 1e6 / _send(ctx, hubs, "stream", 65536, total),
            PIPE: lambda: total / 1e6 / _through_pipe(65536, total),
        }
    )
    return Row(
        "hub: one writer, one reader, 64 KiB writes",
        "MB/s",
        values["hub"],
        values[PIPE],
        PIPE,
        better="higher",
        target=250,
        flags="-q 64M, lost 0",
    )


def _messages(ctx: Context, hubs: Path) -> Row:
    count = ctx.size(100_000, 1000)
    values = ctx.race(
        {
            "hub": lambda: count / _send(ctx, hubs, "messages", 64, count * 64),
            PIPE: lambda: count / _through_pipe(64, count * 64),
        }
    )
    return Row(
        "hub: 64-byte messages, one writer, one reader",
        "/s",
        values["hub"],
        values[PIPE],
        PIPE,
        better="higher",
        target=15_000,
    )


# reads count messages by several threads, each with an open file of its own; says when it is ready
_FAN = """
import os,sys,threading
path,readers,size=sys.argv[1],int(sys.argv[2]),int(sys.argv[3])
reads=[0]*readers
def read(n):
    f=os.open(path,0); left=size
    while left:
        left-=len(os.read(f,1<<16)); reads[n]+=1
threads=[threading.Thread(target=read,args=(n,)) for n in range(readers)]
for t in threads: t.start()
for t in threads: t.join()
print(sum(reads))
"""


def _many(ctx: Context, hubs: Path) -> Row:
    """Every message reaches every reader; what counts is messages times readers a second."""
    count = ctx.size(2000, 50)
    message = b"x" * 63 + b"\n"

    def deliver() -> float:
        (hubs / "many").touch()
        words = [sys.executable, "-c", _FAN, str(hubs / "many"), str(READERS)]
        fan = subprocess.Popen([*words, str(count * 64)], stdout=subprocess.PIPE)
        _until(lambda: _status(hubs, "many")[4] == str(READERS))
        writer = os.open(hubs / "many", os.O_WRONLY | os.O_APPEND)
        began = time.perf_counter()
        for _ in range(count):
            os.write(writer, message)
        assert fan.wait(300) == 0
        seconds = time.perf_counter() - began
        os.close(writer)
        (hubs / "many").unlink()
        assert fan.stdout is not None
        fan.stdout.close()
        return count * READERS / seconds

    values = ctx.race({"hub": deliver})
    return Row(
        "hub: 100 readers, 64-byte messages, deliveries",
        "/s",
        values["hub"],
        better="higher",
        target=15_000,
        flags="exact",
    )


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def _blocked(hubs: Path, name: str, count: int) -> Iterator[None]:
    (hubs / name).touch()
    words = [sys.executable, "-c", _FAN, str(hubs / name), str(count), "1"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as fan:
        _until(lambda: _status(hubs, name)[4] == str(count))
        yield
        (hubs / name).write_bytes(b"x")
        assert fan.wait(60) == 0
    (hubs / name).unlink()  # what it keeps would end the next readers at once


def _idle(ctx: Context, hubs: Path) -> Row:
    seconds = ctx.size(5, 1)
    daemon = daemon_of(hubs)

    def measure() -> float:
        with _blocked(hubs, "idle", READERS):
            before = _ticks(daemon)
            select.select([], [], [], seconds)
            return (_ticks(daemon) - before) / os.sysconf("SC_CLK_TCK") / seconds * 100

    return Row(
        "hub: 100 blocked readers, idle", "% CPU", ctx.race({"hub": measure})["hub"], target=1
    )


def _stalled(ctx: Context, hubs: Path) -> Iterable[Row]:
    """What a writer keeps of its rate beside readers that do not read, and what those cost the daemon.

    They are open files that never read, or processes that were stopped in a read.
    """
    daemon = daemon_of(hubs)
    for name, stalling in (("never read", _never_reading), ("stopped in a read", _stopped)):
        for fear in (False, True):
            hub, free = hubs / "stalled", hubs / "free"
            hub.touch()
            free.touch()
            before = _anonymous_mib(daemon)
            with stalling(hubs, hub.name, STALLED):
                _lap(hub, free)
                (hubs / "ctl").write_text("fear" if fear else "calm")
                shares = [_share(hub, free, ctx.size(10_000, 500)) for _ in range(ctx.runs)]
                (hubs / "ctl").write_text("calm")
                grown = _anonymous_mib(daemon) - before
            hub.unlink()
            free.unlink()
            label = f"hub: {STALLED} readers, {name}"
            if not fear:
                yield Row(f"{label}: memory", "MiB", [grown], target=20, flags="RssAnon")
            yield Row(
                f"{label}: writer's rate",
                "% of that with none",
                shares,
                better="higher",
                target=80,
                flags="fear" if fear else "",
            )


@contextmanager
def _never_reading(hubs: Path, name: str, count: int) -> Iterator[None]:
    opened = [os.open(hubs / name, os.O_RDONLY) for _ in range(count)]
    try:
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)


@contextmanager
def _stopped(hubs: Path, name: str, count: int) -> Iterator[None]:
    words = [sys.executable, "-c", _FAN, str(hubs / name), str(count), str(1 << 40)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as fan:
        try:
            _until(lambda: _status(hubs, name)[4] == str(count))
            fan.send_signal(signal.SIGSTOP)
            yield
        finally:
            fan.kill()


def _anonymous_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def _lap(*hubs: Path) -> None:
    """Write more than a hub keeps: who does not read is lapped then."""
    for hub in hubs:
        _write_seconds(hub, 1000)


def _share(hub: Path, free: Path, count: int) -> float:
    """Return the rate of writes into `hub` in percent of that into `free`.

    Both take turns of a few milliseconds, so that whatever else the machine does meets both.
    """
    seconds = {hub: 0.0, free: 0.0}
    for turn in range(100):
        for target in (hub, free) if turn % 2 else (free, hub):
            seconds[target] += _write_seconds(target, count // 100)
    return seconds[free] / seconds[hub] * 100


def _write_seconds(path: Path, count: int) -> float:
    writer = os.open(path, os.O_WRONLY | os.O_APPEND)
    data = bytes(1000)
    began = time.perf_counter()
    for _ in range(count):
        os.write(writer, data)
    seconds = time.perf_counter() - began
    os.close(writer)
    return seconds


def _shell(ctx: Context, hubs: Path, scratch: Path) -> Row:
    """A shell prints much while ten follow it; slow ones lose lines, which the status counts."""
    total = ctx.size(100 << 20, 1 << 20)
    ended = scratch / "ended"
    prints = f"yes | head -c {total}; touch {ended}"
    command("hub", "-b", hubs)
    _until(lambda: _status(hubs, "io0")[4] == "1")
    readers = [_cat(hubs / "io1") for _ in range(10)]
    _until(lambda: _status(hubs, "io1")[4] == "10")

    def by_hub() -> float:
        began = time.perf_counter()
        (hubs / "io0").write_text(f"{prints}\n")
        _until(ended.exists)
        return time.perf_counter() - began

    def by_tmux() -> float:
        began = time.perf_counter()
        ctx.command("tmux", "-L", str(os.getpid()), "new-session", "-d", prints)
        _until(ended.exists)
        return time.perf_counter() - began

    peer = ctx.peer("tmux", "-V")
    contestants = {"hub": by_hub} | ({peer: by_tmux} if peer else {})
    values = ctx.race(contestants, prepare=lambda _: ended.unlink(missing_ok=True))
    (hubs / "io0").write_text("exit\n")
    for reader in readers:
        assert reader.wait(60) == 0
    return Row(
        "hub: a shell with 10 clients prints 100 MB", "s", values["hub"],
        values.get(peer or "", ()), f"{peer or 'tmux: not installed'}, no client attached",
    )  # fmt: skip


def _cat(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
