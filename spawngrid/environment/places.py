"""Where an environment's things are, and what they are called: all names lead back to its id.

    DIRECTORY/            RUN/environments, of root alone
      keeper.sock         the process that starts environments
      runc/               runc's own state
      ID/                 one environment: record, lock, bundle, files that are bound into it, its mount

What the kernel names - cgroups, links, tables - carries the directory's own number too, so two nodes of
one machine do not take each other's for orphans.
"""

import os
import re
import zlib
from dataclasses import dataclass
from typing import Final

FOLDER: Final = "environments"
HUB_MOUNT: Final = "environments"  # its name below RUN/hubs: `hub environments ID/io`
SHELL: Final = "io"
ID_DIGITS: Final = 12
_ID: Final = re.compile(r"[0-9a-f]{12}")


def new_id() -> str:
    return os.urandom(ID_DIGITS // 2).hex()


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one node. `run`: the run directory; `state`: where scratches on disk lie."""

    run: str
    state: str

    @property
    def folder(self) -> str:
        return os.path.join(self.run, FOLDER)

    @property
    def key(self) -> str:
        """Return six hex digits that tell this node's names from another's on the machine."""
        return f"{zlib.crc32(os.fsencode(self.run)) & 0xFFFFFF:06x}"

    @property
    def hub_mount(self) -> str:
        return os.path.join(self.run, "hubs", HUB_MOUNT)

    @property
    def runc(self) -> str:
        return os.path.join(self.folder, "runc")

    @property
    def keeper(self) -> str:
        return os.path.join(self.folder, "keeper.sock")

    @property
    def keeper_log(self) -> str:
        return os.path.join(self.folder, "keeper.log")

    @property
    def cgroup(self) -> str:
        """Return the cgroup that all of this node's environments lie in, from the hierarchy's root."""
        return f"/spawngrid/{self.key}"

    @property
    def table(self) -> str:
        """Return the name of this node's nftables table."""
        return f"spawngrid_{self.key}"

    @property
    def link_prefix(self) -> str:
        """Return how the names of this node's network links begin; with a slot, at most 15 bytes."""
        return f"sg{self.key}-"

    def of(self, environment_id: str) -> "Own":
        return Own(self, environment_id)


@dataclass(frozen=True, slots=True)
class Own:
    """The paths of one environment."""

    node: Places
    id: str

    @property
    def folder(self) -> str:
        return os.path.join(self.node.folder, self.id)

    def path(self, name: str) -> str:
        """Return the path of one of its files: `record`, `lock`, `config.json`, `input` …"""
        return os.path.join(self.folder, name)

    @property
    def shell_pid_file(self) -> str:
        """Return where the number of its shell is kept."""
        return self.path("shell.pid")

    @property
    def mount(self) -> str:
        return self.path("root")

    @property
    def hubs(self) -> str:
        """Return the group of its hubs."""
        return os.path.join(self.node.hub_mount, self.id)

    @property
    def shell(self) -> str:
        """Return what `hub` calls its shell."""
        return f"{self.id}/{SHELL}"

    @property
    def cgroup(self) -> str:
        return f"{self.node.cgroup}/{self.id}"

    @property
    def guest_cgroup(self) -> str:
        """Return where its own processes are: limited, and stopped for a save."""
        return f"{self.cgroup}/guest"

    @property
    def service_cgroup(self) -> str:
        """Return where what serves it is: its file system. Never stopped, not within its limits."""
        return f"{self.cgroup}/service"
