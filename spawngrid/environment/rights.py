"""What a process may do, and giving it up: capabilities, ids, no_new_privs, filters, its traces.

Each call changes the calling process, for good. Source: capabilities(7), prctl(2), seccomp(2), capset(2),
keyctl(2).
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from typing import Final

from spawngrid.environment.kernel import check, libc

_NAMES: Final = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
NUMBERS: Final = {f"CAP_{name}": number for number, name in enumerate(_NAMES.split())}
ALL: Final = (1 << 64) - 1
KEYCTL: Final = {"x86_64": 250, "aarch64": 219, "armv7l": 311, "i686": 288}
_SET_DUMPABLE, _SET_SECCOMP, _SET_SECUREBITS, _SET_NO_NEW_PRIVS = 4, 22, 28, 38
_READ_BOUND, _DROP_BOUND = 23, 24
_FILTER = 2
_NO_AMBIENT_RAISE = 1 << 6
_JOIN_SESSION_KEYRING = 1
_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")
_SETS = struct.Struct("=IIIIII")
_PROGRAM = struct.Struct("@HP")
_INSTRUCTION_SIZE: Final = 8


def mask(names: Iterable[str]) -> int:
    """Return capabilities as the kernel has them, a bit each."""
    return sum(1 << NUMBERS[name] for name in names)


def hide() -> None:
    """Let nobody but the machine's root trace this process or see its memory and descriptors."""
    _prctl(_SET_DUMPABLE, 0)


def be_root_inside() -> None:
    """Be user 0 and group 0, and in no other group, of the user namespace."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def bound(wanted: int) -> None:
    """Let no program that this process becomes have other capabilities, but for what it inherits."""
    for number in range(64):
        if libc.prctl(_READ_BOUND, number, 0, 0, 0) < 0:
            break  # the kernel knows no more
        if not wanted >> number & 1:
            _prctl(_DROP_BOUND, number)


def hold(wanted: int, *, inherited: int) -> None:
    """Have these capabilities, and no others."""
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    kept_low, kept_high = inherited & 0xFFFFFFFF, inherited >> 32
    sets = _SETS.pack(low, low, kept_low, high, high, kept_high)
    check(libc.capset(_HEADER.pack(_VERSION_3, 0), sets), "capset")


def raise_no_ambient() -> None:
    """Let no program that this process becomes keep capabilities across set-uid."""
    _prctl(_SET_SECUREBITS, _NO_AMBIENT_RAISE)


def gain_nothing() -> None:
    """Let no program that this process becomes have more rights than it has."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def leave_keys(machine: str) -> None:
    """Leave the keys of the session in which this process was started."""
    if libc.syscall(KEYCTL[machine], _JOIN_SESSION_KEYRING, None) < 0:
        number = ctypes.get_errno()
        if number != errno.ENOSYS:  # a kernel without keys
            raise OSError(number, os.strerror(number), "keyctl")


def filter_calls(program: bytes) -> None:
    """Make no system calls but those that a BPF program allows, from now on."""
    code = ctypes.create_string_buffer(program, len(program))
    wanted = _PROGRAM.pack(len(program) // _INSTRUCTION_SIZE, ctypes.addressof(code))
    check(libc.prctl(_SET_SECCOMP, _FILTER, wanted, 0, 0), "seccomp")


def _prctl(option: int, value: int) -> None:
    arguments = (ctypes.c_ulong(n) for n in (value, 0, 0, 0))
    check(libc.prctl(option, *arguments), "prctl")
