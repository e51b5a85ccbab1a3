"""The filter of system calls as a program: what it answers, call by call, and to the kernel itself."""

import ctypes
import os
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawngrid.environment import rights
from spawngrid.environment.interface import CannotIsolate
from spawngrid.environment.runtimes import filters
from spawngrid.environment.seccomp import ALLOWED, profile
from tests.conftest import need

_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x50001, 0x50026
X86_64, X86, ARM_64 = 0xC000003E, 0x40000003, 0xC00000B7
_X32 = 0x40000000
_NEW_NAMESPACES = [1 << bit for bit in (7, 17, 25, 26, 27, 28, 29, 30)]


@pytest.fixture(scope="module")
def program() -> bytes:
    need("grid", filters.library() is not None, "no libseccomp")
    return filters.program(profile())


def answer(program: bytes, processor: int, number: int, *arguments: int) -> int:
    """Return what a program of classic BPF answers to a system call, as the kernel would run it."""
    words = [*arguments, *[0] * 6][:6]
    call = struct.pack("=iIQ6Q", ctypes.c_int(number).value, processor, 0, *words)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        what, yes, no, value = code[at]
        at += 1
        match what:
            case 0x20:
                accumulator = int.from_bytes(call[value : value + 4], "little")
            case 0x06:
                return int(value)
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x25:
                at += yes if accumulator > value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x45:
                at += yes if accumulator & value else no
            case _:
                raise AssertionError(f"unknown instruction {what:#x}")


def numbers(processor: int) -> Callable[[str], int]:
    found = filters.library()
    assert found is not None
    return lambda name: int(
        found.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(processor), name.encode())
    )


@pytest.mark.parametrize("processor", [X86_64, X86, ARM_64])
def test_every_call_by_its_name(program: bytes, processor: int) -> None:
    found = filters.library()
    assert found is not None
    found.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    conditional = {b"clone", b"clone3", b"socket", b"personality"}
    seen = set()
    for number in range(453):
        name = found.seccomp_syscall_resolve_num_arch(ctypes.c_uint32(processor), number)
        if name not in conditional:
            allowed = name is not None and name.decode() in ALLOWED
            assert answer(program, processor, number) == (_ALLOW if allowed else _EPERM), name
        seen.add(name)
    assert conditional | {b"read", b"ptrace", b"bpf"} <= seen
    assert answer(program, processor, numbers(processor)("clone3")) == _ENOSYS


def test_what_depends_on_arguments(program: bytes) -> None:
    call = numbers(X86_64)
    assert answer(program, X86_64, call("clone"), 0x11) == _ALLOW
    for flag in _NEW_NAMESPACES[1:]:
        assert answer(program, X86_64, call("clone"), flag | 0x11) == _EPERM
    assert answer(program, X86_64, call("socket"), 1) == _ALLOW
    assert answer(program, X86_64, call("socket"), 40) == _EPERM
    assert answer(program, X86_64, call("personality"), 0xFFFFFFFF) == _ALLOW
    assert answer(program, X86_64, call("personality"), 0x0400000) == _EPERM


def test_what_has_been_a_way_out_is_forbidden(program: bytes) -> None:
    names = """
    add_key bpf delete_module finit_module fsconfig fsmount fsopen init_module io_uring_enter io_uring_setup
    kexec_load keyctl mount mount_setattr move_mount name_to_handle_at open_by_handle_at open_tree
    perf_event_open pidfd_getfd pivot_root process_vm_readv process_vm_writev reboot request_key setns
    settimeofday swapon umount2 unshare userfaultfd
    """
    for processor in (X86_64, X86, ARM_64):
        number_of = numbers(processor)
        for name in names.split():
            if (number := number_of(name)) >= 0:
                assert answer(program, processor, number) == _EPERM, name


@given(st.integers(453, 0x3FFFFFFF))
def test_calls_newer_than_any_name_do_not_exist(number: int) -> None:
    """So that libraries do without them, as they do on a kernel that has none of them."""
    need("grid", filters.library() is not None, "no libseccomp")
    code = filters.newer_calls({"SCMP_ARCH_X86_64": 452, "SCMP_ARCH_AARCH64": 452})
    code += struct.pack("=HBBI", 6, 0, 0, _ALLOW)
    assert answer(code, X86_64, number) == answer(code, ARM_64, number) == _ENOSYS
    assert answer(code, X86_64, 452) == answer(code, ARM_64, 452) == _ALLOW
    assert answer(code, X86_64, number | _X32) == _ALLOW, "the next part's matter"


def test_a_processor_that_is_not_named_ends_the_program(program: bytes) -> None:
    assert answer(program, 0x80000016, 1) in (0, 0x80000000), "killed"


def test_the_kernel_takes_it(program: bytes) -> None:
    """In a process of its own, which then asks for this and that."""
    asked = {
        425: 1,
        435: 38,
        5000: 38,
        272: 1,
        39: 0,
    }  # io_uring_setup, clone3, none, unshare, getpid
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86_64")
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            rights.gain_nothing()
            rights.filter_calls(program)
            for number, expected in asked.items():
                ctypes.set_errno(0)
                libc.syscall(number, 0, 0)
                status = 0 if ctypes.get_errno() == expected else 100
                if status:
                    break
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_program_at_all_is_no_filter() -> None:
    """What bwrap reads when who would give it a filter has died."""
    child = os.fork()
    if child == 0:
        try:
            rights.gain_nothing()
            rights.filter_calls(b"")
        except OSError:
            os._exit(7)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_without_the_library_there_is_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "library", lambda: None)
    with pytest.raises(CannotIsolate, match="libseccomp"):
        filters.program(profile())
    need("grid", True, "")
