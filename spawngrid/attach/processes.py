"""The processes of an environment, as /proc of the host has them; nothing inside is run for it."""

import os
from collections.abc import Iterator
from contextlib import suppress

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMMAND_SIZE_MAX = 200  # characters


def process_lines(init_pid: int) -> Iterator[str]:
    """Give a line for each process in the pid namespace of `init_pid`: pid, seconds, bytes, command.

    Pids are those inside; seconds of processor time and resident bytes.
    """
    try:
        namespace = os.stat(f"/proc/{init_pid}/ns/pid").st_ino
    except OSError:
        return
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):  # it may end meanwhile
            if os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                found.append(_line(name))
    for pid, line in sorted(found):
        yield f"pid={pid} {line}"


def _line(pid: str) -> tuple[int, str]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        stat = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        inner = next(line for line in file if line.startswith("NSpid:")).split()[-1]
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command = file.read(4096).replace(b"\0", b" ").decode(errors="replace").strip()
    seconds = (int(stat[11]) + int(stat[12])) / _TICKS
    resident = int(stat[21]) * _PAGE
    shown = "".join(c if c.isprintable() and c != '"' else "?" for c in command)[:_COMMAND_SIZE_MAX]
    return int(inner), f'seconds={seconds:.2f} rss={resident} command="{shown}"'
