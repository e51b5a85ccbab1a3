"""What a runtime does: it makes an environment of a bundle, and lets commands join it.

A bundle is an environment's directory with the OCI configuration in it (`config.json`). The root is at
`oci.ROOT`, in a mount namespace of the process that calls `create`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from spawngrid.environment.interface import RuntimeName
from spawngrid.environment.places import Own


@dataclass(frozen=True, slots=True)
class Initial:
    """Process 1 of an environment, as this machine numbers it. `start`: in clock ticks since boot."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class Inside:
    """A command to be run inside, as the environment's root.

    `argv`: the program's whole path first. `terminal`: it gets one of the environment's own, and what
    carries it has another. `pid_file`: the command is left to itself, with the streams as they are, and its
    number, as this machine counts, is written there.
    """

    argv: Sequence[str]
    terminal: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    pid_file: str = ""


class Created(Protocol):
    """An environment in which nothing runs yet: its process 1 waits."""

    @property
    def pid(self) -> int: ...

    def start(self) -> None:
        """Let process 1 go; StartFailed. If it is never called, none of the root's programs ever runs."""
        ...


class Runtime(Protocol):
    """One way to make and join environments."""

    @property
    def name(self) -> RuntimeName: ...

    def lacks(self) -> str:
        """Return what of it is not installed on this machine; "" if all is."""
        ...

    def prepare(self) -> None:
        """Do what need not be done for each environment, in the process from which they are forked."""
        ...

    def create(self, own: Own, configuration: Mapping[str, object]) -> Created:
        """Make the environment of a bundle; its configuration is given, too. StartFailed.

        What was made when this process dies is in the environment's cgroup, and known by its id.
        """
        ...

    def joining(self, own: Own, initial: Initial, inside: Inside) -> list[str]:
        """Return a program and its arguments that run a command inside.

        It carries the command's streams and passes on its signals, and ends as the command does: with its
        status, or 128+N after signal N. With `pid_file` it ends when the command has begun; status 0.
        """
        ...

    def remove(self, own: Own) -> None:
        """Remove what it keeps of an environment outside the bundle. Nothing needs to be there."""
        ...
