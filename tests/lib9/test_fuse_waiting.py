"""Readers that wait: interrupted by signals, woken by writers, never in the way of others."""

import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from tests.lib9.mounting import TOP, Memfs, wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.root]
Mounting = Callable[..., Memfs]


@pytest.fixture
def shim(memfs: Mounting, engine: str) -> Mounting:
    if engine == "stock":
        pytest.skip("stock pyfuse3 cannot interrupt a waiting reader")
    return memfs


def _blocked_cat(mounted: Memfs) -> "subprocess.Popen[bytes]":
    before = mounted.waiting()
    cat = subprocess.Popen(["cat", mounted.point / "hub"], stdout=subprocess.PIPE)
    wait_until(lambda: mounted.waiting() > before)
    return cat


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_waiting_cat_at_once(shim: Mounting, number: signal.Signals) -> None:
    mounted = shim("interruptible")
    times = []
    for _ in range(5):
        cat = _blocked_cat(mounted)
        start = time.monotonic()
        cat.send_signal(number)
        assert cat.wait(5) == -number
        times.append(time.monotonic() - start)
        cat.communicate()
        wait_until(lambda: mounted.waiting() == 0)
    assert min(times) < 0.05  # the others may have shared the processor


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_stopped_cat_goes_on(shim: Mounting, stop: signal.Signals) -> None:
    mounted = shim("interruptible")
    cat = _blocked_cat(mounted)
    assert cat.stdout is not None
    cat.send_signal(stop)  # SIGSTOP takes effect when the read ends, SIGTSTP ends it
    cat.send_signal(signal.SIGCONT)

    def hears() -> bool:  # a write that comes before cat reads again is not for it
        (mounted.point / "hub").write_bytes(b"after")
        return bool(select.select([cat.stdout], [], [], 0.05)[0])

    wait_until(hears)
    assert cat.stdout.read(5) == b"after"
    cat.terminate()
    cat.communicate(timeout=5)


def test_a_thousand_and_one_readers(shim: Mounting) -> None:
    mounted = shim("interruptible", "max_tasks=1100")
    readers = subprocess.Popen(
        [sys.executable, "-m", "tests.lib9.readers", mounted.point / "hub", "1001"],
        cwd=TOP,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: mounted.waiting() == 1001, seconds=30)
    assert (mounted.point / "ctl").stat().st_size == 0
    said, _ = readers.communicate("\n", timeout=60)
    seconds, interrupted = said.split()[1:]
    assert int(interrupted) == 1001
    assert float(seconds) < 2
    assert mounted.waiting() == 0
    (mounted.point / "a").write_text("works")


def test_no_more_readers_than_allowed_may_wait(shim: Mounting) -> None:
    mounted = shim("interruptible", "max_tasks=3")
    cats = [_blocked_cat(mounted) for _ in range(2)]  # the third place is for the question itself
    extra = subprocess.Popen(["cat", mounted.point / "hub"], stderr=subprocess.PIPE)
    wait_until(lambda: extra.poll() is not None or cats)
    descriptor = os.open(mounted.point / "ctl", os.O_WRONLY)  # still served
    os.write(descriptor, b"x")
    os.close(descriptor)
    for cat in (*cats, extra):
        cat.terminate()
        cat.communicate(timeout=5)


def test_a_write_wakes_all_readers_and_pollers(memfs: Mounting) -> None:
    mounted = memfs()
    cats = [_blocked_cat(mounted) for _ in range(3)]
    descriptor = os.open(mounted.point / "hub", os.O_RDONLY)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(0) == []
    ready: list[object] = []
    thread = threading.Thread(target=lambda: ready.extend(poller.poll(10_000)))
    thread.start()
    (mounted.point / "hub").write_bytes(b"news")
    thread.join(10)
    assert ready == [(descriptor, select.POLLIN)]
    os.close(descriptor)
    for cat in cats:
        assert cat.stdout is not None
        assert cat.stdout.read(4) == b"news"
    wait_until(lambda: mounted.waiting() == 3)
    for cat in cats:
        cat.kill()
    wait_until(lambda: (mounted.point / "hub").write_bytes(b"end") and mounted.waiting() == 0)
    for cat in cats:
        cat.communicate(timeout=5)


def test_one_open_file_reads_and_writes_at_once(shim: Mounting) -> None:
    mounted = shim("interruptible")
    descriptor = os.open(mounted.point / "hub", os.O_RDWR)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(os.read(descriptor, 100)))
    reader.start()
    wait_until(lambda: mounted.waiting() == 1)
    os.write(descriptor, b"through the same descriptor")
    reader.join(5)
    assert got == [b"through the same descriptor"]
    os.close(descriptor)


def test_slow_answers_do_not_hold_up_others(memfs: Mounting) -> None:
    point = memfs().point
    with subprocess.Popen(
        ["sh", "-c", f"for i in 1 2 3 4 5 6; do cat {point}/slow & done; wait"]
    ) as many:
        start = time.monotonic()
        assert many.wait(5) == 0
    assert time.monotonic() - start < 0.25  # one after the other would take 0.3


def test_a_bug_in_a_handler_is_eio_and_a_traceback(memfs: Mounting) -> None:
    mounted = memfs()
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            (mounted.point / "bad").read_bytes()
        assert caught.value.errno == errno.EIO
        with pytest.raises(OSError):
            (mounted.point / "bad").write_bytes(b"x")
    (mounted.point / "a").write_text("next request works")
    assert "ValueError: a bug" in mounted.log()


def test_a_lost_store_is_eio_and_one_line(memfs: Mounting) -> None:
    mounted = memfs()
    with pytest.raises(OSError) as caught:
        (mounted.point / "lost").read_bytes()
    assert caught.value.errno == errno.EIO
    assert mounted.log().splitlines() == ["read: store is away: no answer"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EDQUOT, errno.ESTALE, 0, -5, 600, 70_000])
def test_any_errno_reaches_the_caller_or_becomes_eio(memfs: Mounting, number: int) -> None:
    mounted = memfs()
    with pytest.raises(OSError) as caught:
        os.mknod(mounted.point / f"error-{number}")
    assert caught.value.errno == (number if 0 < number < 512 else errno.EIO)
    (mounted.point / "a").touch()


def test_a_handler_knows_who_opened(memfs: Mounting) -> None:
    point = memfs().point
    assert (point / "who").read_text() == f"{os.getuid()} {os.getgid()} {os.getpid()}"


@pytest.mark.parametrize(
    "seconds", [0.5, pytest.param(10, marks=[pytest.mark.long, pytest.mark.timeout(120)])]
)
def test_nothing_is_lost_while_the_daemon_is_stopped(memfs: Mounting, seconds: float) -> None:
    mounted = memfs()
    writers = [
        subprocess.Popen(
            ["sh", "-c", f"for i in $(seq 200); do echo $i >> {mounted.point}/w{n}; done"]
        )
        for n in range(3)
    ]
    mounted.process.send_signal(signal.SIGSTOP)
    timer = threading.Timer(seconds, mounted.process.send_signal, [signal.SIGCONT])
    timer.start()
    for writer in writers:
        assert writer.wait(60) == 0
    timer.join()
    expected = "".join(f"{i}\n" for i in range(1, 201))
    for number in range(3):
        assert (mounted.point / f"w{number}").read_text() == expected
