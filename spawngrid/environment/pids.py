"""Processes of an environment by their numbers on this machine, as kept in files."""

from spawngrid.environment.places import Own
from spawngrid.environment.processes import start_time


def read_pid(path: str) -> int:
    """Return the number in a pid file; 0 if there is none."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def is_in(own: Own, pid: int) -> bool:
    """Tell whether a number is still that of a process of the environment: it would be in its cgroup."""
    if pid <= 0 or start_time(pid) is None:
        return False
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return own.guest_cgroup in file.read()
    except OSError:
        return False


def shell_pid(own: Own) -> int:
    """Return the number of the environment's shell; 0 if it does not run."""
    pid = read_pid(own.shell_pid_file)
    return pid if is_in(own, pid) else 0
