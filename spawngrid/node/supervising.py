"""All services of a node kept running by one process in the foreground, where there is no systemd."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from spawngrid.node import processes
from spawngrid.node.processes import Running, ServiceFailed
from spawngrid.settings.config import NodeConfig

LOOK_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = 1.0  # between the end of a service and its next start


def supervise(
    config: NodeConfig,
    file: str,
    environ: Mapping[str, str],
    *,
    say: Callable[[Running, str], None],
    ready: Callable[[], None],
) -> None:
    """Start the services and start anew what ends, until SIGTERM or SIGINT; then end them all.

    ServiceFailed if one does not start at first; those that were started are ended then. One that
    does not start later is tried again every AGAIN_SECONDS.
    """
    services = processes.services_of(config)
    failures: dict[str, str] = {}  # what was said already
    with _told() as told:
        try:
            for service in services:
                say(processes.start(config, file, service, environ), "started")
            ready()
            while not told(LOOK_SECONDS):
                _reap()
                down = [s for s in services if not processes.running(config, s).pid]
                if down and told(AGAIN_SECONDS):
                    break
                for service in down:
                    try:
                        say(processes.start(config, file, service, environ), "had ended: started")
                        failures.pop(service, None)
                    except ServiceFailed as failed:
                        if failures.get(service) != str(failed):
                            failures[service] = str(failed)
                            say(Running(service, 0), str(failed))
        finally:
            for service in reversed(services):
                if processes.stop(config, service):
                    say(Running(service, 0), "stopped")


def _reap() -> None:
    """Take leave of processes that have ended: a zombie keeps its pid."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@contextmanager
def _told() -> Iterator[Callable[[float], bool]]:
    """Give a function that waits so many seconds and tells whether a signal to end has come."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    numbers: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: numbers.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    wakeup = signal.set_wakeup_fd(write)

    def told(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not numbers and (left := deadline - time.monotonic()) > 0:
            if select.select([read], [], [], left)[0]:
                os.read(read, 4096)
        return bool(numbers)

    try:
        yield told
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)
