"""What the services ask of the machine's environments: start, run, save, stop, and what there is.

Every call blocks; call it in a thread. Calls for different environments may run side by side; calls for
one wait for each other, across processes too (a lock file, which the kernel drops when its holder dies).
An environment outlives who started it: its state is in `DIRECTORY/ID/`, found again by any later process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lib9.errors import Exit, SpawngridError

Network = Literal["none", "nat", "host"]
State = Literal["starting", "running", "ended", "lost", "stopping"]
Level = Literal["ok", "note", "lacks"]
RuntimeName = Literal["runc", "bubblewrap"]


class NoSuchEnvironment(SpawngridError):
    """No environment has this id."""

    exit_code = Exit.NOT_FOUND


class CannotIsolate(SpawngridError):
    """This machine cannot hold an environment in the way that was asked for: nothing was started."""

    exit_code = Exit.FAILED


class UnfitRoot(SpawngridError):
    """No environment can be made of this root: no shell in it, or links where directories must be."""

    exit_code = Exit.FAILED


class NotRunning(SpawngridError):
    """The environment is there, but its processes have ended or its file system is lost."""

    exit_code = Exit.FAILED


class StartFailed(SpawngridError):
    """Something between the root and the first shell went wrong; all of it was taken back."""

    exit_code = Exit.FAILED


@dataclass(frozen=True, slots=True)
class Limits:
    """What all processes of an environment may use together."""

    memory_bytes: int = 512 << 20  # with swap
    cpus: float = 1.0
    pids: int = 512


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to be started. `limits` None: none are asked for (`--limits none`).

    `score`: `vac:HEX`. `store`: an address as `$venti` has it (a path, `unix!`, `tcp!`, `noise!`).
    `hostname`: letters, digits and `-`, at most 63. `user`: whose it is, for the record only.
    """

    name: str
    user: str
    score: str
    store: str
    scratch_bytes: int = 100 << 20
    scratch_on_disk: bool = False
    limits: Limits | None = field(default_factory=Limits)
    network: Network = "nat"
    hostname: str = ""  # the name, as far as it can be one


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment as its record has it. `id`: 12 hex digits, never used again.

    `mount` is where this node sees its root; never stat it, a lost one hangs. `hubs` and `shell` are
    the arguments of `hub`, `hubshell` and `hubfs.shell.attach.attach`. `reason`: why it is not running.
    """

    id: str
    spec: Spec
    state: State
    reason: str = ""
    started_s: int = 0  # seconds since 1970
    init_pid: int = 0  # the environment's process 1, as this machine numbers it
    mount: str = ""
    scratch: str = ""
    hubs: str = ""
    shell: str = ""
    address: str = ""  # of its network, when it has one of its own


@dataclass(frozen=True, slots=True)
class Usage:
    """What an environment uses now; None where this machine does not count it."""

    memory_bytes: int | None
    cpu_seconds: float | None
    pids: int | None
    scratch_bytes: int | None
    unsaved: bool | None


@dataclass(frozen=True, slots=True)
class Saved:
    """`score`: `vac:HEX`, on stable storage. `pause_seconds`: how long its processes stood still.

    `frozen` False: they could not be stopped within the limit and went on while the state was taken;
    each file is as it was at that moment, but not one moment of the whole environment. Say so.
    """

    score: str
    pause_seconds: float
    frozen: bool


@dataclass(frozen=True, slots=True)
class Mended:
    """Something that nobody owned any more, and what was done: `kind` mount, cgroup, network, process,
    record, hub or scratch.
    """

    kind: str
    name: str
    done: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about this machine. `lacks`: something asked for by default cannot be had."""

    name: str
    level: Level
    fact: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Streams:
    """Descriptors for a command; they stay the caller's. With a terminal all three are its one."""

    stdin: int
    stdout: int
    stderr: int


class Command(Protocol):
    """A command that runs in an environment."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status, 128+N when signal N ended it; subprocess.TimeoutExpired."""
        ...

    def signal(self, number: int) -> None:
        """Send it a signal; SIGWINCH after the terminal's size has changed."""
        ...


class Environments(Protocol):
    """The environments of one node."""

    def prepare(self) -> None:
        """Start what every environment needs, so that the first one is as quick as the next."""
        ...

    def start(self, spec: Spec) -> Environment:
        """Return a running environment: its shell reads its hub, its services are being started.

        CannotIsolate, UnfitRoot, NoSuchBlock, StartFailed; then nothing of it is left.
        """
        ...

    def run(
        self,
        environment_id: str,
        argv: Sequence[str],
        streams: Streams,
        *,
        terminal: bool = False,
        variables: Mapping[str, str] | None = None,
        directory: str = "/",
    ) -> Command:
        """Start a command inside, as the environment's root. `terminal`: the streams are one.

        NoSuchEnvironment, NotRunning. A command that is not there ends with status 127 or 126.
        """
        ...

    def attach(self, environment_id: str) -> Environment:
        """Return the environment with its shell reading the hub: a new one if the last has ended.

        NoSuchEnvironment, NotRunning.
        """
        ...

    def save(self, environment_id: str) -> Saved:
        """Save the root as it is at one moment; the environment goes on.

        NoSuchEnvironment, NotRunning (one that has `ended` can still be saved), store errors.
        """
        ...

    def stop(self, environment_id: str) -> None:
        """End its processes and remove all that is its; unsaved changes are gone. NoSuchEnvironment."""
        ...

    def all(self) -> list[Environment]:
        """Return all environments, oldest first, with the state that they are really in."""
        ...

    def status(self, environment_id: str) -> tuple[Environment, Usage]:
        """Return one environment and what it uses. NoSuchEnvironment."""
        ...

    def reconcile(self) -> list[Mended]:
        """Remove what has no owner, restart what all share. Call it when a service starts.

        An environment whose start or stop was cut off, or whose file system is gone, is removed with its
        record; a scratch on disk with unsaved changes is kept for fossil-scratch. One that has `ended`
        stays: it can be saved.
        """
        ...

    def orphans(self) -> list[Mended]:
        """Return what `reconcile` would mend, changing nothing."""
        ...

    def close(self) -> None:
        """End what `prepare` has started, if no environment is left; for the end of a node."""
        ...

    def doctor(self) -> list[Finding]:
        """Return what this machine can and cannot do for environments."""
        ...
