"""Dial strings: `unix!PATH`, `tcp!HOST!PORT`, `noise!HOST!PORT`. Pure.

`tcp!` is plain, for loopback and tunnels. `noise!` is the same below a secure channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from lib9.errors import Exit, SpawngridError, UsageError

SERVICES: Final = {"venti": 17034, "hub": 17777, "grid": 27034}  # names that may stand for a port
DIAL_SECONDS_MAX: Final = 10.0

Network = Literal["unix", "tcp", "noise"]
_NETWORKS: Final[tuple[Network, ...]] = ("unix", "tcp", "noise")


class CannotDial(SpawngridError):
    """Nobody answers at this address."""

    exit_code = Exit.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Dial:
    """An address. `path` is for unix, `host` and `port` for the others; host `*` is any of ours."""

    network: Network
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.network == "unix":
            return f"unix!{self.path}"
        return f"{self.network}!{self.host}!{self.port}"


def is_dial(text: str) -> bool:
    """Tell whether `text` is meant as a dial string: it starts with a network and `!`."""
    return text.partition("!")[0] in _NETWORKS and "!" in text


def parse_dial(text: str, *, port: int | str = "venti") -> Dial:
    """Return the address that `text` spells; without a port, `port`. UsageError if it is none."""
    network, _, rest = text.partition("!")
    if network == "unix" and rest:
        return Dial("unix", path=rest)
    if network in ("tcp", "noise") and rest:
        host, _, port_text = rest.partition("!")
        number = _port(port_text or str(port))
        if host and number is not None:
            return Dial("tcp" if network == "tcp" else "noise", host=host, port=number)
    raise UsageError(f"{text}: not an address (unix!PATH, tcp!HOST!PORT or noise!HOST!PORT)")


def _port(text: str) -> int | None:
    if text in SERVICES:
        return SERVICES[text]
    if text.isascii() and text.isdigit() and int(text) <= 0xFFFF:
        return int(text)
    return None
