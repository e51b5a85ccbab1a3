"""Who uses a mount, found in /proc without asking the mount anything."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lib9.fuse.mounts import parse_mountinfo

_LINKS = ("cwd", "root", "exe")


@dataclass(frozen=True, slots=True)
class Use:
    """A process and one file or directory of the mount that it holds, as it sees the path."""

    pid: int
    uid: int
    command: str
    path: str


def uses_of(minor: int) -> list[Use]:
    """Return who has something open on the FUSE mount of this number, or stands in it.

    What is only mapped is not seen. Processes that this user may not look into are left out.
    """
    return [use for pid in _pids() for use in _uses(pid, minor)]


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _uses(pid: int, minor: int) -> Iterator[Use]:
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            table = parse_mountinfo(file.read())
        ours = [mount for mount in table if mount.is_fuse and mount.minor == minor]
        if not ours:
            return
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            command = file.read().strip()
        uid = os.stat(f"/proc/{pid}").st_uid
        numbers = {b"%d" % mount.id for mount in ours}
        points = [os.fsdecode(mount.point) for mount in ours]
        for path in [*_open_files(pid, numbers), *_places(pid, points)]:
            yield Use(pid, uid, command, path)
    except (OSError, ValueError):
        return  # ended meanwhile, or not for us to see


def _open_files(pid: int, mount_ids: set[bytes]) -> Iterator[str]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            with open(f"/proc/{pid}/fdinfo/{name}", "rb") as file:
                said = dict(line.split(b":", 1) for line in file if b":" in line)
            if said.get(b"mnt_id", b"").strip() in mount_ids:
                yield os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue  # closed meanwhile


def _places(pid: int, points: list[str]) -> Iterator[str]:
    for link in _LINKS:
        try:
            path = os.readlink(f"/proc/{pid}/{link}")
        except OSError:
            continue
        if any(path == point or path.startswith(point.rstrip("/") + "/") for point in points):
            yield path
