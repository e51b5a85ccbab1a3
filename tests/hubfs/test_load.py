"""Many readers, slow readers, held writers: what is lost is counted, and nobody pays for others."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.commands import run
from tests.hubfs.test_mount import readers, wait_until
from tests.kit.hubs import daemon_of, hub_mount

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def answers(hubs: Path) -> bool:
    try:
        return bool((hubs / "ctl").read_text())
    except OSError:
        return False


def anonymous_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("no RssAnon")


def write_seconds(hub: Path, count: int) -> float:
    begun = time.process_time()
    with hub.open("ab", buffering=0) as writer:
        for _ in range(count):
            writer.write(bytes(1000))
    return time.process_time() - begun


# opens the hub so many times and blocks a thread in read of each
BLOCK = """
import os,sys,threading
def read(): os.read(os.open(sys.argv[1],0),1); os.read(0,1)
threading.stack_size(65536)
for n in range(int(sys.argv[2])): threading.Thread(target=read,daemon=True).start()
sys.stdin.read()
"""


@pytest.mark.shim("more than 99 waiting requests")
def test_a_thousand_readers_that_block_cost_little_memory(tmp_path: Path, home: Path) -> None:
    with hub_mount(tmp_path / "hubs") as hubs:
        hub = hubs / "h"
        hub.touch()
        with hub.open("ab", buffering=0) as writer:
            for _ in range(20):
                writer.write(bytes(100_000))  # the hub itself is full
        (hubs / "ctl").write_text("trunc h")
        before = anonymous_kib(daemon_of(hubs))
        words = [sys.executable, "-c", BLOCK, str(hub), "1000"]
        with subprocess.Popen(words, stdin=subprocess.PIPE) as blocked:
            wait_until(lambda: readers(hubs, "h") == 1000, 60)
            assert anonymous_kib(daemon_of(hubs)) - before < 20 << 10
            begun = time.monotonic()
            assert "readers 1000" in (hubs / "ctl").read_text()
            assert time.monotonic() - begun < 1
            blocked.kill()
        wait_until(lambda: readers(hubs, "h") == 0, 30)


def test_lag_and_loss_are_shown_while_the_reader_sleeps(tmp_path: Path, home: Path) -> None:
    with hub_mount(tmp_path / "hubs", "-q", "1000") as hubs:
        hub = hubs / "h"
        hub.touch()
        sleeper = os.open(hub, os.O_RDONLY)
        with hub.open("ab", buffering=0) as writer:
            writer.write(bytes(600))
            assert "h: bytes 600 readers 1 lag 600 lost 0" in (hubs / "ctl").read_text()
            writer.write(b"x" * 600)
            assert "h: bytes 1000 readers 1 lag 1000 lost 200" in (hubs / "ctl").read_text()
        assert os.read(sleeper, 5000) == bytes(400) + b"x" * 600
        os.close(sleeper)


def test_a_lapped_reader_gets_nothing_mixed_and_nothing_twice(tmp_path: Path, home: Path) -> None:
    with hub_mount(tmp_path / "hubs", "-q", "4096") as hubs:
        hub = hubs / "h"
        hub.touch()
        got = bytearray()
        descriptor = os.open(hub, os.O_RDONLY)

        def read() -> None:
            while data := os.read(descriptor, 104):
                got.extend(data)
                time.sleep(0.002)

        thread = threading.Thread(target=read)
        thread.start()
        with hub.open("ab", buffering=0) as writer:
            for n in range(20_000):
                writer.write(b"%07d\n" % n)
        hub.unlink()
        thread.join(30)
        os.close(descriptor)
        # whole numbers but for where it was lapped, growing, up to the last
        assert len(got) < 20_000 * 8
        seen = [int(word) for word in bytes(got).split(b"\n") if len(word) == 7]
        assert seen == sorted(set(seen))
        assert seen[-1] == 19_999


def test_fear_on_one_hub_delays_no_other(tmp_path: Path, home: Path) -> None:
    with hub_mount(tmp_path / "hubs") as hubs:
        (hubs / "held").write_bytes(b"")
        (hubs / "free").write_bytes(b"")
        (hubs / "ctl").write_text("fear held")
        slow = os.open(hubs / "held", os.O_RDONLY)
        with (hubs / "held").open("ab", buffering=0) as writer:
            writer.write(bytes(100_000))
            begun = time.monotonic()
            thread = threading.Thread(target=writer.write, args=(b"waits",))
            thread.start()
            free = 0
            with (hubs / "free").open("ab", buffering=0) as other:
                while thread.is_alive():
                    other.write(b"x")
                    free += 1
            held = time.monotonic() - begun
        assert 0.6 < held < 3
        assert free > 50
        os.close(slow)


@pytest.mark.parametrize(
    ("count", "messages"), [(20, 500), pytest.param(100, 10_000, marks=pytest.mark.long)]
)
def test_every_reader_gets_every_byte_in_order(
    tmp_path: Path, home: Path, count: int, messages: int
) -> None:
    check = (
        "import sys\nfor n,line in enumerate(sys.stdin.buffer): assert line==b'message %d\\n'%n\n"
        "assert n+1==int(sys.argv[1])"
    )
    with hub_mount(tmp_path / "hubs", "-q", "64M") as hubs:
        hub = hubs / "h"
        hub.touch()
        children = []
        for _ in range(count):
            with hub.open("rb", buffering=0) as source:
                words = [sys.executable, "-c", check, str(messages)]
                children.append(subprocess.Popen(words, stdin=source))
        with hub.open("ab", buffering=0) as writer:
            for n in range(messages):
                writer.write(b"message %d\n" % n)
        wait_until(lambda: "lag 0 lost 0" in (hubs / "ctl").read_text(), 600)
        hub.unlink()
        assert [child.wait(60) for child in children] == [0] * count


def test_writes_over_the_maximum_are_refused_in_whatever_pieces_the_kernel_cuts_them(
    tmp_path: Path, home: Path
) -> None:
    with hub_mount(tmp_path / "hubs", "-q", "8M", "-l", "1040384") as hubs:
        with (hubs / "h").open("ab", buffering=0) as writer:
            for size in (1040385, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20):
                for start in (0, 1, 4095):  # however it lies in memory
                    with pytest.raises(OSError, match="too long"):
                        writer.write(memoryview(bytearray(size + start))[start:])
            assert "h: bytes 0 " in (hubs / "ctl").read_text()
            for start in (0, 1, 4095):
                assert writer.write(memoryview(bytearray(1040384 + start))[start:]) == 1040384
        # a long read of as much as the kernel asks for in one piece does not wait for the next
        reader = os.open(hubs / "h", os.O_RDONLY)
        left = 3 * 1040384
        while left:
            left -= len(os.read(reader, 4 << 20))
        os.close(reader)


def test_a_dead_mount_is_found_and_cleaned(tmp_path: Path, home: Path) -> None:
    with hub_mount(tmp_path / "hubs") as hubs:
        os.kill(daemon_of(hubs), 9)
        wait_until(lambda: not answers(hubs))
        run("hubfs", hubs)
        assert "Hubfs" in (hubs / "ctl").read_text()
