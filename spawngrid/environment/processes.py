"""Processes by number and start time, and ending them: a number alone may have been used again."""

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

END_SECONDS_MAX: Final = 10.0  # for a killed process to be gone


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None for none, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if words[0] in (b"Z", b"X") else int(words[19])


def is_running(pid: int, start: int) -> bool:
    return pid > 0 and start_time(pid) == start


def end(pid: int, start: int) -> bool:
    """Kill a process and wait until it is gone; tell whether it was there.

    TimeoutError if it does not go: then it hangs in the kernel.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_running(pid, start):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(END_SECONDS_MAX * 1000):
            raise TimeoutError(f"process {pid} does not end")
        return True
    finally:
        os.close(descriptor)


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Return True when `done()` is; False after so many seconds."""
    deadline = time.monotonic() + seconds
    pause = 0.0005
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return True
