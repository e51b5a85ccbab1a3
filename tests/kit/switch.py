"""`python -m tests.kit.switch NAME...`: new network namespaces on one wire, with faults between them.

Namespace n (from 1) has 10.98.0.n on the device `wan0`, a TAP whose frames this process carries. Each
line on stdin changes how, and is answered with a line `ok FRAMES BYTES` (carried so far):

    delay MS        one way, all
    loss PERCENT    all
    cut A B         nothing between A and B; `cut all`
    mend            everything is carried again
    cut-after BYTES nothing is carried any more after so many bytes from now
    count

At the end of stdin the namespaces are removed.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002
CLONE_NEWNET = 0x40000000
FRAMES_AT_ONCE = 64
QUEUE_MAX = 20_000  # frames under way


def tap(name: str, number: int) -> int:
    """Make a namespace with a TAP in it; return the TAP."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    subprocess.run(["ip", "netns", "add", name], check=True)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    assert libc.setns(there, CLONE_NEWNET) == 0
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"wan0", IFF_TAP_NO_PI))
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(there)
        os.close(home)
    ip = ["ip", "-n", name]
    subprocess.run([*ip, "addr", "add", f"10.98.0.{number}/24", "dev", "wan0"], check=True)
    for link in ("wan0", "lo"):
        subprocess.run([*ip, "link", "set", link, "up"], check=True)
    return device


class Wire:
    def __init__(self, taps: list[int]) -> None:
        self.taps = taps
        self.delay = self.loss = 0.0
        self.cuts: set[frozenset[int]] = set()
        self.queue: list[tuple[float, int, int, bytes]] = []
        self.where: dict[bytes, int] = {}  # MAC → tap
        self.frames = self.bytes = 0
        self.left: int | None = None
        self.chance = random.Random(1)

    def take(self, source: int) -> None:
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = os.read(self.taps[source], 65536)
            except BlockingIOError:
                return
            self.where[frame[6:12]] = source
            to = self.where.get(frame[:6])
            targets = range(len(self.taps)) if to is None else (to,)
            for target in targets:
                if target != source:
                    self.send(source, target, frame)

    def send(self, source: int, target: int, frame: bytes) -> None:
        if frozenset((source, target)) in self.cuts or self.chance.random() * 100 < self.loss:
            return
        if self.left is not None:
            self.left -= len(frame)
            if self.left < 0:
                return
        self.frames += 1
        self.bytes += len(frame)
        if not self.delay:
            self.write(target, frame)
        elif len(self.queue) < QUEUE_MAX:
            heapq.heappush(self.queue, (time.monotonic() + self.delay, self.frames, target, frame))

    def write(self, target: int, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # its queue is full: frames may be lost
            os.write(self.taps[target], frame)

    def run(self) -> None:
        while True:
            now = time.monotonic()
            while self.queue and self.queue[0][0] <= now:
                _, _, target, frame = heapq.heappop(self.queue)
                self.write(target, frame)
            wait = self.queue[0][0] - now if self.queue else None
            ready, _, _ = select.select([0, *self.taps], [], [], wait)
            for descriptor in ready:
                if descriptor == 0:
                    line = sys.stdin.buffer.raw.readline().decode().split()
                    if not line:
                        return
                    self.command(line)
                    print("ok", self.frames, self.bytes, flush=True)
                else:
                    self.take(self.taps.index(descriptor))

    def command(self, words: list[str]) -> None:
        match words:
            case ["delay", ms]:
                self.delay = float(ms) / 1000
            case ["loss", percent]:
                self.loss = float(percent)
            case ["cut", "all"]:
                everybody = range(len(self.taps))
                self.cuts = {frozenset((a, b)) for a in everybody for b in everybody if a < b}
            case ["cut", a, b]:
                self.cuts.add(frozenset((int(a) - 1, int(b) - 1)))
            case ["mend"]:
                self.cuts.clear()
                self.left = None
            case ["cut-after", size]:
                self.left = int(size)
            case ["count"]:
                pass
            case _:
                raise ValueError(words)


def main(names: list[str]) -> None:
    taps: list[int] = []
    try:
        for number, name in enumerate(names, 1):
            taps.append(tap(name, number))
        print("ready", flush=True)
        Wire(taps).run()
    finally:
        for device in taps:
            os.close(device)
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1:])
