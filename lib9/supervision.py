"""What a service manager and its services say to each other: sockets passed on, and readiness.

Source: sd_listen_fds(3), sd_notify(3). `environ` is passed in by cli modules.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

from lib9.sockets import socket_path

FIRST_DESCRIPTOR: Final = 3
DESCRIPTORS_MAX: Final = 64


def passed_descriptors(environ: Mapping[str, str]) -> list[int]:
    """Return the sockets that were opened for this process, none if it was started otherwise."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environ.get("LISTEN_FDS", "")
    if not count.isdigit():
        return []
    descriptors = list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + min(int(count), DESCRIPTORS_MAX)))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors


def notify(environ: Mapping[str, str], state: str) -> None:
    """Tell the service manager, if there is one: `READY=1`, `STOPPING=1`, `STATUS=...`."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            with socket_path(address) as short:
                sock.sendto(state.encode(), short)
        except OSError:
            return  # nobody is left to be told; that is no reason to fail
