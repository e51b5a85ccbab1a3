"""One environment comes to be, in a process forked from the keeper: everything is imported already.

The order matters for who cleans up: the record is there before anything else (node.py), every thing made
afterwards carries the environment's id or slot, and the state becomes `running` last.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from fossil_fs.ids import Shift
from lib9.faults import fault
from lib9.keys import Identity
from spawngrid.environment import (
    detached,
    fit,
    hubs,
    identity,
    kernel,
    network,
    oci,
    record,
    slots,
    tree,
)
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.cgroups.layout import Layout
from spawngrid.environment.interface import CannotIsolate, Spec, StartFailed
from spawngrid.environment.locks import locked
from spawngrid.environment.pids import shell_pid
from spawngrid.environment.places import SHELL, Own
from spawngrid.environment.processes import start_time
from spawngrid.environment.runtimes.choosing import ALL
from spawngrid.environment.runtimes.interface import Created, Initial, Inside

PIPE: Final = "input"  # the shell's standard input, filled by the keeper
_MOUNT_POINT_MODE: Final = 0o700


def start(own: Own, *, kill_at: str, not_ours: tuple[int, ...], ready: Callable[[], None]) -> None:
    """Make the environment of a record; whatever goes wrong is raised, and taken back by the caller.

    `ready` is called when commands can be run. Its shell is started then: what it is told meanwhile waits in
    its pipe. If the shell cannot be started, the next who attaches or says something tries again.
    """
    entry = record.read(own)
    if entry is None:
        raise StartFailed(f"{own.id}: its record is gone")
    layout, spec = read_layout(), entry.spec
    service = Group(layout, own.service_cgroup)
    service.create()
    service.add(os.getpid())
    fault("start.cgroup")
    shift = Shift(slots.first_id(entry.slot), slots.IDS) if entry.shifted else None
    tree.mount(own, spec, shift=shift, kill_at=kill_at, not_ours=not_ours)
    fault("start.mounted")
    created, with_services = _take_over(own, entry, layout)
    fault("start.created")
    if spec.network == "nat":
        network.connect(own.node, entry.slot, created.pid)
    fault("start.connected")
    created.start()
    fault("start.started")
    begun = start_time(created.pid)
    if begun is None:
        raise StartFailed("its process 1 ended at once")
    entry = replace(
        entry, state="running", init_pid=created.pid, init_start=begun, started_s=int(time.time())
    )
    record.write(own, entry)
    fault("start.recorded")
    ready()
    start_shell(own, entry)
    if with_services:
        hubs.say(own, f". {fit.SERVICES}")


def _take_over(own: Own, entry: record.Entry, layout: Layout) -> tuple[Created, bool]:
    """Let its runtime make the environment around the root; tell whether the root has services to start."""
    root = os.open(own.mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with kernel.files_of(slots.first_id(entry.slot) if entry.shifted else 0):
            fit.make_fit(root)
        binds = _files(own, entry, fit.host_keys(root))
        with_services = fit.has_services(root)
        _place_root(root, None if entry.shifted else entry.slot)
    finally:
        os.close(root)
    configuration = _configuration(own, entry, layout, binds)
    with open(own.path("config.json"), "w", encoding="utf-8") as file:
        json.dump(configuration, file)
    return ALL[entry.runtime].create(own, configuration), with_services


def _place_root(root: int, slot: int | None) -> None:
    """Put the root where a runtime finds it, in a mount namespace of this process, with a slot's ids."""
    copy = detached.copy(root) if slot is None else _mapped(root, slot)
    kernel.unshare(kernel.NEW_MOUNTS)
    kernel.keep_mounts_private()
    place = os.open(oci.ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    detached.put(copy, place)
    os.close(place)
    os.close(copy)


def _mapped(root: int, slot: int) -> int:
    users = kernel.user_namespace(slots.first_id(slot), slots.IDS)
    try:
        return detached.copy(root, users=users)
    except OSError as error:
        raise CannotIsolate(f"ids cannot be mapped on this mount: {error.strerror}") from error
    finally:
        os.close(users)


def _configuration(
    own: Own, entry: record.Entry, layout: Layout, binds: list[oci.Bind]
) -> dict[str, object]:
    memory = layout.of("memory", "")
    swap = "memory.swap.max" if layout.is_pure else "memory.memsw.limit_in_bytes"
    parent = own.service_cgroup if layout.is_pure else ""
    return oci.configuration(
        hostname=entry.spec.hostname,
        slot=entry.slot,
        cgroup=own.guest_cgroup,
        limits=entry.spec.limits,
        network=entry.spec.network,
        binds=binds,
        swap_counted=memory is not None and os.path.exists(f"{memory}{parent}/{swap}"),
    )


def _files(own: Own, entry: record.Entry, host_keys: list[str]) -> list[oci.Bind]:
    """Write the files that are this spawn's own; return what is bound into the root."""
    spec = entry.spec
    address = slots.addresses(entry.slot)[1] if spec.network == "nat" else ""
    texts = {
        "etc/hostname": f"{spec.hostname}\n",
        "etc/hosts": identity.hosts(spec.hostname, address),
        "etc/resolv.conf": _resolv_conf(spec),
        "etc/machine-id": identity.machine_id(os.urandom(16)),
        **_ssh_keys(spec, host_keys),
    }
    folder = own.path("files")
    os.mkdir(folder, 0o700)
    binds = [oci.Bind(_initial_program(), oci.INIT)]
    first = slots.first_id(entry.slot)
    for number, (name, text) in enumerate(texts.items()):
        path = os.path.join(folder, str(number))
        secret = "PRIVATE KEY" in text
        with open(path, "w", encoding="utf-8", opener=_private if secret else None) as file:
            file.write(text)
        os.chown(path, first, first)
        binds.append(oci.Bind(path, f"/{name}"))
    binds += [oci.Bind(source, target, writable=True) for source, target in hubs.guest_files(own)]
    return binds


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _resolv_conf(spec: Spec) -> str:
    if spec.network == "none":
        return ""
    with suppress(OSError), open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
        return identity.resolv_conf(file.read(64 << 10), shares_network=spec.network == "host")
    return ""


def _ssh_keys(spec: Spec, names: list[str]) -> dict[str, str]:
    """Return new keys for a root that has some: one of Ed25519, and nothing in place of the others."""
    if not names:
        return {}
    made = Identity.generate()
    secret, public = identity.ssh_key(made.seed, made.public, f"root@{spec.hostname}")
    own = {"etc/ssh/ssh_host_ed25519_key": secret, "etc/ssh/ssh_host_ed25519_key.pub": public}
    return {name: own.get(name, "") for name in names}


def _initial_program() -> str:
    path = shutil.which(oci.INIT_PROGRAM)
    if path is None:
        raise CannotIsolate(f"{oci.INIT_PROGRAM}: not installed")
    return path


def ensure_shell(own: Own) -> None:
    """Start the shell of an environment that runs, unless it has one; OSError, StartFailed."""
    with locked(
        own.path("lock")
    ):  # whoever starts the environment holds it, until the shell is there
        entry = record.read(own)
        if entry is not None and entry.state == "running" and not shell_pid(own):
            start_shell(own, entry)


def start_shell(own: Own, entry: record.Entry) -> None:
    """Start the environment's shell on its hubs, as `hub` does on a machine of its own."""
    pipe = os.open(own.path(PIPE), os.O_RDWR | os.O_CLOEXEC)  # both ways: it never ends
    output, errors = hubs.shell_outputs(own)
    try:
        prompt = {"PS1": f"{own.id[:4]}; "}
        inside = Inside([fit.SHELL, "-i"], variables=prompt, pid_file=own.shell_pid_file)
        initial = Initial(entry.init_pid, entry.init_start)
        words = ALL[entry.runtime].joining(own, initial, inside)
        done = subprocess.run(words, stdin=pipe, stdout=output, stderr=errors, env={}, check=False)
        if done.returncode:
            raise StartFailed(f"{fit.SHELL} did not start: its hub {SHELL}2 may say why")
    finally:
        for descriptor in (pipe, output, errors):
            os.close(descriptor)
