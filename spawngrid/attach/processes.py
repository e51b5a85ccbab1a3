"""The processes of an environment, as /proc of the host has them; nothing inside is run for it."""

import os
from collections.abc import Iterator
from contextlib import suppress

from lib9.telling import one_line

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GROUPS = "/sys/fs/cgroup"
_OURS = "/spawngrid/"
_COMMAND_SIZE_MAX = 200  # characters


def process_lines(init_pid: int) -> Iterator[str]:
    """Give a line for each process of the environment of `init_pid`: pid, seconds, bytes, command.

    Pids are those inside; seconds of processor time and resident bytes.
    """
    found = []
    for member in _members(init_pid):
        with suppress(OSError, ValueError, IndexError, StopIteration):  # it may end meanwhile
            found.append(_line(member))
    for pid, line in sorted(found):
        yield f"pid={pid} {line}"


def _members(init_pid: int) -> list[str]:
    """Return the pids in the cgroup of `init_pid`.

    No other process is looked at: one that is stuck would make us wait for it.
    """
    with suppress(OSError), open(f"/proc/{init_pid}/cgroup", encoding="ascii") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if _OURS not in path:
                continue
            for place in (controllers, "unified", ""):
                with suppress(OSError):
                    name = os.path.join(_GROUPS, place, path.lstrip("/"), "cgroup.procs")
                    with open(name, encoding="ascii") as members:
                        return members.read().split()
    return [str(init_pid)]


def _line(pid: str) -> tuple[int, str]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        stat = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        inner = next(line for line in file if line.startswith("NSpid:")).split()[-1]
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command = file.read(4096).replace(b"\0", b" ").decode(errors="replace").strip()
    seconds = (int(stat[11]) + int(stat[12])) / _TICKS
    resident = int(stat[21]) * _PAGE
    shown = one_line(command, _COMMAND_SIZE_MAX, without='"')
    return int(inner), f'seconds={seconds:.2f} rss={resident} command="{shown}"'
