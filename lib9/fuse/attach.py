"""Mounting: a descriptor of /dev/fuse that the kernel has connected to a mount point.

As root by mount(2), else through fusermount3, which passes the descriptor over a socket. From then on
the mount is there: requests wait in the kernel until the descriptor is served, so a command may mount
first and import its program afterwards.
"""

import os
from dataclasses import dataclass
from errno import EACCES, ENOENT, EPERM

from lib9.fuse import mounts, syscalls
from lib9.fuse.errors import MountFailed
from lib9.fuse.options import MountOptions

_DEVICE = "/dev/fuse"
_ANSWER_SECONDS = 10.0  # fusermount3 answers in milliseconds, or asks a name service first


@dataclass(frozen=True, slots=True)
class Attached:
    """A mount without a server yet. Closing `descriptor` without serving makes it dead."""

    descriptor: int
    point: bytes
    minor: int


def attach(mountpoint: bytes, options: MountOptions) -> Attached:
    """Mount on a directory and return the connection; MountFailed says why it cannot.

    A dead mount that is found there is removed first.
    """
    try:
        mounts.clean_dead(mountpoint)
        point = mounts.real_path(mountpoint)
    except OSError as error:
        raise MountFailed(f"{os.fsdecode(mountpoint)}: {error.strerror}") from None
    descriptor = (
        _attach_as_root(point, options) if _may_mount() else _attach_as_user(point, options)
    )
    mount = mounts.fuse_mount_at(point)
    if mount is None:
        os.close(descriptor)
        raise MountFailed(f"{os.fsdecode(point)}: the mount has vanished")
    return Attached(descriptor, point, mount.minor)


def _may_mount() -> bool:
    return os.geteuid() == 0


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")


def _flags(options: MountOptions) -> int:
    flags = 0 if options.suid else syscalls.MS_NOSUID
    flags |= 0 if options.dev else syscalls.MS_NODEV
    return flags | (syscalls.MS_RDONLY if options.read_only else 0)


def _kernel_options(options: MountOptions) -> list[str]:
    names = {
        "default_permissions": options.default_permissions,
        "allow_other": options.allow_other,
    }
    return [name for name, wanted in names.items() if wanted] + sorted(options.extra)


def _attach_as_root(point: bytes, options: MountOptions) -> int:
    try:
        descriptor = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountFailed(f"{_DEVICE}: {error.strerror}: is the fuse module loaded?") from None
    words = [
        f"fd={descriptor}",
        "rootmode=40000",
        f"user_id={os.getuid()}",
        f"group_id={os.getgid()}",
    ]
    data = ",".join(words + _kernel_options(options))
    fstype = f"fuse.{options.subtype}"
    try:
        syscalls.mount(
            options.fsname.encode(), point, fstype.encode(), _flags(options), data.encode()
        )
    except OSError as error:
        os.close(descriptor)
        raise MountFailed(f"{os.fsdecode(point)}: cannot mount: {error.strerror}") from None
    return descriptor


def _user_options(options: MountOptions) -> str:
    words = [f"fsname={_escape(options.fsname)}", f"subtype={_escape(options.subtype)}"]
    if options.read_only:
        words.append("ro")
    return ",".join(words + _kernel_options(options))


def _attach_as_user(point: bytes, options: MountOptions) -> int:
    import socket  # not needed by root, who is to be fast

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        number = theirs.fileno()
        reader, writer = os.pipe()
        command = [b"fusermount3", b"-o", _user_options(options).encode(), b"--", point]
        try:
            child = os.posix_spawnp(
                "fusermount3",
                command,
                {"_FUSE_COMMFD": str(number), "LC_ALL": "C", "PATH": os.defpath},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, number, number),  # takes away close-on-exec
                    (os.POSIX_SPAWN_DUP2, writer, 2),
                ],
            )
        except OSError as error:
            os.close(reader)
            os.close(writer)
            missing = error.errno in (ENOENT, EACCES, EPERM)
            why = "not installed (package fuse3)" if missing else error.strerror
            raise MountFailed(f"fusermount3: {why}") from None
        theirs.close()
        os.close(writer)
        ours.settimeout(_ANSWER_SECONDS)
        try:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        except TimeoutError:
            descriptors = []
        os.waitpid(child, 0)
        with open(reader, "rb") as stream:
            said = stream.read() if not descriptors else b""
    if not descriptors:
        last = said.strip().splitlines()[-1:] or [b"fusermount3 gave no descriptor"]
        why = os.fsdecode(last[0]).removeprefix("fusermount3: ")
        raise MountFailed(f"{os.fsdecode(point)}: cannot mount: {why}")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]
