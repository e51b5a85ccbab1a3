"""Which system calls an environment's programs may make: data for the OCI configuration.

An allow list: what a kernel learns later is refused until it is looked at. Refused is what changes the
machine (modules, clocks, swap, reboot), reaches other processes' memory across namespaces by handle
(open_by_handle_at), makes or enters namespaces, or has been a way out of containers (keyrings, userfaultfd,
bpf, perf, io_uring).
"""

from typing import Final

_FILES: Final = """
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64
fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr llistxattr _llseek
lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat newfstatat open openat openat2
pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr rename
renameat renameat2 rmdir sendfile sendfile64 setxattr splice stat stat64 statfs statfs64 statx symlink
symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
utimensat_time64 utimes vmsplice write writev
"""
_MEMORY: Final = """
brk get_mempolicy madvise mbind membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
move_pages mprotect mremap msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
set_mempolicy shmat shmctl shmdt shmget
"""
_PROCESSES: Final = """
alarm arch_prctl capget capset execve execveat exit exit_group fork futex futex_time64 futex_waitv getcpu
getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpgid getpgrp getpid
getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid
get_thread_area gettid getuid getuid32 ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self modify_ldt nanosleep pause pidfd_open pidfd_send_signal prctl prlimit64
process_mrelease restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr
sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit
set_robust_list setsid set_thread_area set_tid_address setuid setuid32 sigaltstack signalfd signalfd4
sigpending sigprocmask sigreturn tgkill time times tkill ugetrlimit vfork wait4 waitid waitpid
"""
_TALKING: Final = """
accept accept4 bind connect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
epoll_wait epoll_wait_old eventfd eventfd2 getpeername getsockname getsockopt io_cancel io_destroy
io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ipc listen mq_getsetattr mq_notify mq_open
mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv
msgsnd pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 recv recvfrom recvmmsg recvmmsg_time64
recvmsg select _newselect semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto
setsockopt shutdown socketcall socketpair
"""
_TIMES: Final = """
clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
getrandom gettimeofday sysinfo timer_create timer_delete timer_getoverrun timer_gettime
timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
timerfd_settime timerfd_settime64 uname
"""
_OTHERS: Final = (
    "breakpoint cacheflush set_tls get_tls sync_file_range2 arm_fadvise64_64 chroot ptrace"
)

ALLOWED: Final = tuple(
    word
    for text in (_FILES, _MEMORY, _PROCESSES, _TALKING, _TIMES, _OTHERS)
    for word in text.split()
)
_NEW_NAMESPACES: Final = 0x7E020000  # every CLONE_NEW* flag
_VSOCK: Final = 40  # a way to the machine under a virtual machine
_PERSONALITIES: Final = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
_NO_SUCH_CALL: Final = 38
_ARCHITECTURES: Final = ("X86_64", "X86", "X32", "AARCH64", "ARM")


def profile() -> dict[str, object]:
    """Return the `linux.seccomp` part of an OCI configuration."""

    def argument(index: int, value: int, op: str, second: int = 0) -> dict[str, object]:
        return {"index": index, "value": value, "valueTwo": second, "op": op}

    calls: list[dict[str, object]] = [
        {"names": list(ALLOWED), "action": "SCMP_ACT_ALLOW"},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [argument(0, _NEW_NAMESPACES, "SCMP_CMP_MASKED_EQ")],
        },
        # flags of clone3 are out of a filter's sight; libraries then use clone
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _NO_SUCH_CALL},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [argument(0, _VSOCK, "SCMP_CMP_NE")],
        },
    ]
    calls += [
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [argument(0, value, "SCMP_CMP_EQ")],
        }
        for value in _PERSONALITIES
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": [f"SCMP_ARCH_{name}" for name in _ARCHITECTURES],
        "syscalls": calls,
    }
