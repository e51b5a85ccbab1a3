"""The filter of system calls that an OCI configuration describes, as the program that the kernel runs.

libseccomp makes it, as it does for runc, from the names of calls on each processor. In front of it goes what
runc puts there: a call that is newer than any of those names does not exist (ENOSYS), so that libraries do
without it; were it forbidden (EPERM), they would give up.

Source: the OCI runtime specification 1.0.2, "Seccomp"; seccomp_rule_add(3); seccomp(2).
"""

import ctypes
import functools
import os
import struct
from collections.abc import Mapping
from typing import Any, Final

from spawngrid.environment.interface import CannotIsolate

LIBRARY: Final = "libseccomp.so.2"
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ENOSYS: Final = 38
_EXISTS: Final = -17  # an architecture that is there already: this machine's own
_COMPARE: Final = {"SCMP_CMP_NE": 1, "SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
_TOKENS: Final = {  # what libseccomp calls a processor, and what a filter is told
    "SCMP_ARCH_X86_64": (0xC000003E, 0xC000003E),
    "SCMP_ARCH_X86": (0x40000003, 0x40000003),
    "SCMP_ARCH_X32": (0x4000003E, 0xC000003E),
    "SCMP_ARCH_AARCH64": (0xC00000B7, 0xC00000B7),
    "SCMP_ARCH_ARM": (0x40000028, 0x40000028),
}
_X32: Final = 0x40000000  # added to the number of a call
_NUMBER_MAX: Final = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _IF_EQUAL, _IF_MORE, _RETURN = 0x20, 0x15, 0x25, 0x06
_NUMBER_AT, _PROCESSOR_AT = 0, 4  # in seccomp_data


class _Argument(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("compare", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return libseccomp; None if it is not installed."""
    try:
        found = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    found.seccomp_init.restype = ctypes.c_void_p
    return found


def program(profile: Mapping[str, Any]) -> bytes:
    """Return the program of the `linux.seccomp` part of a configuration; CannotIsolate."""
    found = library()
    if found is None:
        raise CannotIsolate(f"{LIBRARY} is not installed")
    if profile["defaultAction"] != "SCMP_ACT_ERRNO":
        raise CannotIsolate("the filter of system calls: it must forbid what it does not know")
    return newer_calls(_last_calls(found, profile)) + _compiled(found, profile)


def newer_calls(last: Mapping[str, int]) -> bytes:
    """Return the part of a program that answers ENOSYS to calls beyond the last of each processor. Pure."""
    code = b""
    for name, number in last.items():
        most = _X32 - 1 if name == "SCMP_ARCH_X86_64" else _NUMBER_MAX
        code += _INSTRUCTION.pack(_LOAD, 0, 0, _PROCESSOR_AT)
        code += _INSTRUCTION.pack(_IF_EQUAL, 0, 4, _TOKENS[name][1])
        code += _INSTRUCTION.pack(_LOAD, 0, 0, _NUMBER_AT)
        code += _INSTRUCTION.pack(_IF_MORE, 0, 2, number)
        code += _INSTRUCTION.pack(_IF_MORE, 1, 0, most)
        code += _INSTRUCTION.pack(_RETURN, 0, 0, _ERRNO | _ENOSYS)
    return code


def _last_calls(found: ctypes.CDLL, profile: Mapping[str, Any]) -> dict[str, int]:
    """Return the highest number among all names of a profile, for each processor."""
    names = [name.encode() for rule in profile["syscalls"] for name in rule["names"]]
    last = {}
    for processor in profile["architectures"]:
        resolve = functools.partial(
            found.seccomp_syscall_resolve_name_arch, ctypes.c_uint32(_TOKENS[processor][0])
        )
        last[processor] = max(map(resolve, names))  # a name that it does not know is below zero
    return last


def _compiled(found: ctypes.CDLL, profile: Mapping[str, Any]) -> bytes:
    context = ctypes.c_void_p(found.seccomp_init(_ERRNO | profile["defaultErrnoRet"]))
    if not context:
        raise CannotIsolate("the filter of system calls: libseccomp makes none")
    try:
        for name in profile["architectures"]:
            result = found.seccomp_arch_add(context, ctypes.c_uint32(_TOKENS[name][0]))
            _need(0 if result == _EXISTS else result, name)
        for rule in profile["syscalls"]:
            _add(found, context, rule)
        return _exported(found, context)
    finally:
        found.seccomp_release(context)


def _add(found: ctypes.CDLL, context: ctypes.c_void_p, rule: Mapping[str, Any]) -> None:
    allowed = rule["action"] == "SCMP_ACT_ALLOW"
    action = ctypes.c_uint32(_ALLOW if allowed else _ERRNO | rule["errnoRet"])
    arguments = [
        _Argument(a["index"], _COMPARE[a["op"]], a["value"], a["valueTwo"])
        for a in rule.get("args", ())
    ]
    array = (_Argument * len(arguments))(*arguments)
    for name in rule["names"]:
        number = found.seccomp_syscall_resolve_name(name.encode())
        if number == -1:  # newer than the library: it stays forbidden
            continue
        result = found.seccomp_rule_add_array(context, action, number, len(arguments), array)
        _need(result, name)


def _exported(found: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    descriptor = os.memfd_create("filter")
    try:
        _need(found.seccomp_export_bpf(context, descriptor), "export")
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _need(result: int, what: str) -> None:
    if result < 0:
        raise CannotIsolate(f"the filter of system calls: {what}: {os.strerror(-result)}")
