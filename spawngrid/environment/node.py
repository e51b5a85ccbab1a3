"""The environments of one node: the interface, on what holds, mounts and talks to them on this machine."""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from lib9.errors import SpawngridError, UsageError
from lib9.fuse import mounts
from lib9.places import private_directory
from spawngrid.environment import doctor, hubs, identity, network, orders, record, slots, tree
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import (
    Environment,
    Finding,
    Mended,
    NoSuchEnvironment,
    NotRunning,
    Saved,
    Spec,
    StartFailed,
    Streams,
    Usage,
)
from spawngrid.environment.locks import locked
from spawngrid.environment.pids import shell_pid
from spawngrid.environment.places import Own, Places, is_id, new_id
from spawngrid.environment.processes import is_running
from spawngrid.environment.reconciling import orphans, reconcile
from spawngrid.environment.removing import remove
from spawngrid.environment.runtimes.choosing import ALL, choose
from spawngrid.environment.runtimes.interface import Initial, Inside
from spawngrid.environment.saving import save
from spawngrid.environment.starting import ensure_shell, start_shell

KEEPER_SECONDS_MAX: Final = 30.0  # a loaded machine takes seconds to import it


class Node:
    """All environments below one run directory; see `interface.Environments`.

    `run`: where running things are (`lib9.places.run_directory`). `state`: where scratches on disk lie.
    `kill_at`: a fault of the keeper and what it starts (lib9.faults), for tests. `shift_ids`: the file
    systems shift ids; None: where the kernel cannot map them.
    """

    def __init__(
        self, run: str, state: str, *, kill_at: str = "", shift_ids: bool | None = None
    ) -> None:
        self._places = Places(os.path.abspath(run), os.path.abspath(state))
        self._kill_at = kill_at
        self._shift_ids = not doctor.maps_ids()[0] if shift_ids is None else shift_ids

    def prepare(self) -> None:
        """Start what every environment needs."""
        private_directory(self._places.run)
        private_directory(self._places.folder)
        private_directory(self._places.runc)
        hubs.ensure_mounted(self._places)
        self._ensure_keeper()

    def start(self, spec: Spec) -> Environment:
        """Return a running environment; see the interface."""
        spec = replace(spec, hostname=identity.hostname_of(spec.hostname or spec.name))
        _check(spec)
        doctor.require(spec)
        tree.check(spec)
        self.prepare()
        if spec.network == "nat" and not network.is_prepared(self._places):
            network.prepare(self._places)
        own, lock = self._take(spec)
        try:
            self._order(own, lock)
            return self._environment(own)
        except BaseException:
            remove(own, record.read(own))
            raise
        finally:
            os.close(lock)

    def _take(self, spec: Spec) -> tuple[Own, int]:
        """Write the record of a new environment, with a slot nobody has; its lock is held."""
        with locked(os.path.join(self._places.folder, "lock")):
            entries = [record.read(self._places.of(each)) for each in record.ids(self._places)]
            slot = slots.free_slot(self._places.key, (e.slot for e in entries if e is not None))
            if slot is None:
                raise StartFailed(f"{slots.SLOTS_MAX} environments are the most on one node")
            own = self._places.of(new_id())
            os.mkdir(own.folder, 0o700)
            lock = os.open(own.path("lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            scratch = tree.scratch_of(own, spec)
            started = int(time.time())
            entry = record.Entry(
                own.id,
                spec,
                slot,
                choose(spec.limits),
                started_s=started,
                scratch=scratch,
                shifted=self._shift_ids,
            )
            record.write(own, entry)
        return own, lock

    def _order(self, own: Own, lock: int) -> None:
        """Let the keeper start it; one that has just died is replaced, once."""
        try:
            orders.ask(self._places.keeper, {"id": own.id}, lock)
        except orders.KeeperGone as gone:
            raise StartFailed(str(gone)) from gone

    def run(
        self,
        environment_id: str,
        argv: Sequence[str],
        streams: Streams,
        *,
        terminal: bool = False,
        variables: Mapping[str, str] | None = None,
        directory: str = "/",
    ) -> "Command":
        """Start a command inside; see the interface."""
        if not argv or argv[0].startswith("-"):
            raise UsageError("no command" if not argv else f"{argv[0]}: not a command")
        own, entry = self._running(environment_id)
        inside = Inside(
            ["/bin/sh", "-c", 'exec "$@"', "sh", *argv], terminal, variables or {}, directory
        )
        initial = Initial(entry.init_pid, entry.init_start)
        process = subprocess.Popen(
            ALL[entry.runtime].joining(own, initial, inside),
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            env={},  # of a service, which is nothing for whoever goes inside
            start_new_session=terminal,
        )
        return Command(process)

    def attach(self, environment_id: str) -> Environment:
        """Return the environment, with a shell that reads its hub."""
        own, _ = self._running(environment_id)
        self.prepare()
        ensure_shell(own)
        return self._environment(own)

    def save(self, environment_id: str) -> Saved:
        """Save the root as it is at one moment."""
        own = self._own(environment_id)
        with locked(own.path("lock")):
            if tree.running(own) is None:
                raise NotRunning(f"{environment_id}: the daemon of its file system is gone")
            return save(own)

    def stop(self, environment_id: str) -> None:
        """End an environment and remove all that is its."""
        own = self._own(environment_id)
        with locked(own.path("lock")):
            entry = record.set_state(own, "stopping")
            remove(own, entry)

    def all(self) -> list[Environment]:
        """Return all environments, oldest first."""
        found = []
        for each in record.ids(self._places):
            with suppress(NoSuchEnvironment):
                found.append(self._environment(self._places.of(each)))
        return sorted(found, key=lambda environment: (environment.started_s, environment.id))

    def status(self, environment_id: str) -> tuple[Environment, Usage]:
        """Return one environment and what it uses."""
        own = self._own(environment_id)
        memory, cpu, pids = Group(read_layout(), own.guest_cgroup).usage()
        space = tree.space(own)
        used, unsaved = (None, None) if space is None else (space.used, space.unsaved)
        return self._environment(own), Usage(memory, cpu, pids, used, unsaved)

    def reconcile(self) -> list[Mended]:
        """Remove what has no owner, restart what all share."""
        private_directory(self._places.run)
        private_directory(self._places.folder)
        done = reconcile(self._places)
        if record.ids(self._places):
            done += self._restore_shells()
        return done

    def _restore_shells(self) -> list[Mended]:
        """Make anew what all share, and the hubs and shells that went with it."""
        hubs.ensure_mounted(self._places)
        without = [own for own in self._all_running() if not hubs.exist(own)]
        for own in without:
            hubs.make(own)
        if without:
            orders.end_server(self._places.keeper)  # a new one reads the new hubs
        self.prepare()
        for own in without:
            with locked(own.path("lock")):
                _restart_shell(own)
        return [Mended("hub", own.id, "made anew") for own in without]

    def _all_running(self) -> list[Own]:
        return [self._places.of(each.id) for each in self.all() if each.state == "running"]

    def orphans(self) -> list[Mended]:
        """Return what `reconcile` would mend."""
        return orphans(self._places)

    def doctor(self) -> list[Finding]:
        """Return what this machine can and cannot do for environments."""
        return doctor.findings()

    def close(self) -> None:
        """End what `prepare` has started, if no environment is left; for the end of a node."""
        if record.ids(self._places):
            return
        end_shared(self._places)

    def _own(self, environment_id: str) -> Own:
        own = self._places.of(environment_id)
        if not is_id(environment_id) or record.read(own) is None:
            raise NoSuchEnvironment(f"{environment_id}: no such environment")
        return own

    def _running(self, environment_id: str) -> tuple[Own, record.Entry]:
        own = self._own(environment_id)
        environment, entry = self._environment(own), record.read(own)
        if environment.state != "running" or entry is None:
            raise NotRunning(f"{environment_id}: {environment.reason or environment.state}")
        return own, entry

    def _environment(self, own: Own) -> Environment:
        """Return what a record says, and what has become of it since."""
        entry = record.read(own)
        if entry is None:
            raise NoSuchEnvironment(f"{own.id}: no such environment")
        state, reason = entry.state, entry.reason
        if state == "running" and tree.running(own) is None:
            state, reason = "lost", "the daemon of its file system is gone"
        elif state == "running" and not is_running(entry.init_pid, entry.init_start):
            state, reason = "ended", "its process 1 has ended"
        own_address = slots.addresses(entry.slot)[1] if entry.spec.network == "nat" else ""
        return Environment(
            id=entry.id,
            spec=entry.spec,
            state=state,
            reason=reason,
            started_s=entry.started_s,
            init_pid=entry.init_pid,
            mount=own.mount,
            scratch=entry.scratch,
            hubs=self._places.hub_mount,
            shell=own.shell,
            address=own_address,
        )

    def _ensure_keeper(self) -> None:
        """Start the keeper if nobody listens in its place."""
        with locked(os.path.join(self._places.folder, "keeper.lock")):
            if orders.is_served(self._places.keeper):
                return
            words = [self._places.run, self._places.state, self._kill_at]
            with open(self._places.keeper_log, "ab") as log:
                started = subprocess.run(  # it is back when the keeper listens
                    [sys.executable, "-m", "spawngrid.environment.keeper", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    check=False,
                    timeout=KEEPER_SECONDS_MAX,
                )
            if started.returncode:
                raise StartFailed(f"the keeper did not start: see {self._places.keeper_log}")


class Command:
    """A command in an environment: a process of its runtime, which carries its streams and signals."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; subprocess.TimeoutExpired."""
        if timeout is not None and self._process.returncode is None:
            ended = os.pidfd_open(self._process.pid)  # told at once; Popen looks now and then
            try:
                poll = select.poll()
                poll.register(ended, select.POLLIN)
                if not poll.poll(timeout * 1000):
                    raise subprocess.TimeoutExpired(self._process.args, timeout)
            finally:
                os.close(ended)
        status = self._process.wait()
        return 128 - status if status < 0 else status

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)


def end_shared(places: Places) -> None:
    """End the keeper and the hub mount, remove the node's rules."""
    orders.end_server(places.keeper)
    with suppress(SpawngridError, OSError):
        mounts.unmount(os.fsencode(places.hub_mount), lazy=True)
    network.forget(places)
    Group(read_layout(), places.cgroup).remove()


def _restart_shell(own: Own) -> None:
    """Start a shell in place of one whose hubs are gone."""
    entry, pid = record.read(own), shell_pid(own)
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if entry is not None:
        start_shell(own, entry)


def _check(spec: Spec) -> None:
    limits = spec.limits
    if limits is not None and (
        limits.memory_bytes < 4 << 20 or limits.cpus < 0.01 or limits.pids < 4
    ):
        raise UsageError("limits: at least 4 MiB of memory, 0.01 processors and 4 processes")
    for text in (spec.name, spec.user, spec.store):
        if not text.isprintable() or '"' in text:
            raise UsageError(f"{text!r}: no control characters, no quotes")
