"""What is mounted, found without asking any file system: a daemon that hangs cannot hang us.

The kernel's own table, /proc/self/mountinfo, has everything: a mount's point, type and device. A path
leads to its mount through an O_PATH descriptor, whose fdinfo names the mount. Only `is_dead` asks the
file system itself, and lets a child process with a deadline do so.
"""

import os
import signal
import time
from dataclasses import dataclass
from errno import EBUSY, EINVAL, EPERM

from lib9.fuse import syscalls
from lib9.fuse.errors import MountBusy, MountFailed, NotMounted

_TABLE = "/proc/self/mountinfo"
_CONNECTIONS = "/sys/fs/fuse/connections"
_PROBE_SECONDS = 1.0  # a live mount that takes longer to say stat is busy, not dead


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of the mount table. `minor` is the connection's number under /sys/fs/fuse."""

    id: int
    parent: int
    major: int
    minor: int
    point: bytes
    fstype: bytes
    source: bytes

    @property
    def is_fuse(self) -> bool:
        return self.fstype == b"fuse" or self.fstype.startswith((b"fuse.", b"fuseblk"))


def _unescape(field: bytes) -> bytes:
    head, *rest = field.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def parse_mountinfo(table: bytes) -> list[Mount]:
    """Return the mounts that the text of a mountinfo file lists, in its order."""
    mounts = []
    for line in filter(None, table.split(b"\n")):  # not splitlines: a name may hold a \r
        fields = line.split(b" ")
        tail = fields.index(b"-")
        major, minor = fields[2].split(b":")
        mounts.append(
            Mount(
                int(fields[0]),
                int(fields[1]),
                int(major),
                int(minor),
                _unescape(fields[4]),
                fields[tail + 1],
                _unescape(fields[tail + 2]),
            )
        )
    return mounts


def read_mounts() -> list[Mount]:
    """Return what this process sees mounted."""
    with open(_TABLE, "rb") as table:
        return parse_mountinfo(table.read())


def mount_of(path: bytes) -> Mount | None:
    """Return the mount that `path` lies in; OSError if it cannot be reached.

    None: it begins above the root of this process (chroot), which shows in no table.
    """
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as info:
            lines = dict(line.split(b":", 1) for line in info.read().splitlines() if b":" in line)
    finally:
        os.close(descriptor)
    number = int(lines[b"mnt_id"])
    return next((mount for mount in read_mounts() if mount.id == number), None)


def real_path(path: bytes) -> bytes:
    """Return `path` without symbolic links, asking no file system that is mounted right there."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.fsencode(os.readlink(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)


def fuse_mount_at(path: bytes) -> Mount | None:
    """Return the topmost mount if it is FUSE and has its root at exactly `path`."""
    mount = mount_of(path)
    if mount is None or not mount.is_fuse or mount.point != real_path(path):
        return None
    return mount


def is_dead(mount: Mount) -> bool:
    """Tell whether the daemon behind a FUSE mount is gone (every request gives ENOTCONN)."""
    reader, writer = os.pipe()
    try:
        child = os.posix_spawnp(
            "stat",
            [b"stat", b"--file-system", b"--", mount.point],
            {"LC_ALL": "C", "PATH": os.defpath},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, writer, 2),
            ],
        )
        if not _ends_in_time(child):
            os.kill(child, signal.SIGKILL)  # it may end later, when the file system answers
            return False
        os.write(writer, b".")
        return b"not connected" in os.read(reader, 4096)
    finally:
        os.close(reader)
        os.close(writer)


def _ends_in_time(child: int) -> bool:
    deadline = time.monotonic() + _PROBE_SECONDS
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def unmount(point: bytes, *, lazy: bool = False) -> None:
    """Unmount what is mounted at `point`; `lazy`: now from the name space, in full when unused.

    An ordinary user's mount is unmounted through fusermount3. MountBusy or MountFailed.
    """
    try:
        syscalls.umount(point, detach=lazy)
    except OSError as error:
        if error.errno == EPERM:
            _unmount_as_user(point, lazy=lazy)
            return
        if error.errno == EBUSY:
            raise MountBusy(f"{os.fsdecode(point)}: in use") from None
        if error.errno == EINVAL:
            raise NotMounted(f"{os.fsdecode(point)}: nothing is mounted there") from None
        raise MountFailed(f"{os.fsdecode(point)}: cannot unmount: {error.strerror}") from None


def _unmount_as_user(point: bytes, *, lazy: bool) -> None:
    import subprocess

    # without -q: what it says tells a mount in use from one that is not ours
    command = [b"fusermount3", b"-u", *([b"-z"] if lazy else []), b"--", point]
    try:
        done = subprocess.run(command, check=False, capture_output=True)
    except FileNotFoundError:
        raise MountFailed("fusermount3: not installed (package fuse3)") from None
    if done.returncode != 0:
        if b"busy" in done.stderr:
            raise MountBusy(f"{os.fsdecode(point)}: in use")
        why = os.fsdecode(done.stderr.strip()) or "fusermount3 refused"
        raise MountFailed(f"{os.fsdecode(point)}: cannot unmount: {why}")


def clean_dead(point: bytes) -> bool:
    """Remove dead FUSE mounts stacked on `point`; tell whether there was one."""
    cleaned = False
    while (mount := fuse_mount_at(point)) is not None and is_dead(mount):
        unmount(mount.point, lazy=True)
        cleaned = True
    return cleaned


def abort(minor: int) -> None:
    """End a connection whatever its daemon does: all its requests fail, the mount is then dead.

    OSError if this process may not, NotMounted if there is no such connection.
    """
    if not os.path.isdir(f"{_CONNECTIONS}/{minor}"):
        _mount_control()
    try:
        with open(f"{_CONNECTIONS}/{minor}/abort", "wb") as control:
            control.write(b"1")
    except FileNotFoundError:
        raise NotMounted(f"no FUSE connection {minor}") from None


def is_connected(minor: int) -> bool:
    """Tell whether the kernel has this connection: some namespace has it mounted, this one or another.

    False where it cannot be known (no fusectl).
    """
    return os.path.isdir(f"{_CONNECTIONS}/{minor}")


def _mount_control() -> None:
    if any(mount.fstype == b"fusectl" for mount in read_mounts()):
        return
    syscalls.mount(b"fusectl", os.fsencode(_CONNECTIONS), b"fusectl", 0, b"")


def set_read_ahead(mount: Mount, kib: int) -> bool:
    """Set how far the kernel reads ahead in this mount; False if this process may not.

    The number is the FUSE mount's own: no other file system has that device, so no other changes.
    """
    if not mount.is_fuse:
        raise NotMounted(f"{os.fsdecode(mount.point)}: not a FUSE mount")
    try:
        with open(f"/sys/class/bdi/{mount.major}:{mount.minor}/read_ahead_kb", "w") as control:
            control.write(str(kib))
    except OSError:
        return False
    return True
