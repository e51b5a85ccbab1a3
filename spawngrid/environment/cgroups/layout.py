"""How this machine's cgroups are laid out: one tree (v2), a tree for each controller (v1), or both. Pure.

Source: cgroups(7), and the kernel's admin-guide/cgroup-v1 and cgroup-v2.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["v1", "hybrid", "v2", "none"]
LIMITED: Final = ("memory", "cpu", "pids")  # what limits need
_USED: Final = ("memory", "cpu", "cpuacct", "pids", "freezer")  # of version 1, for a group of ours


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the hierarchies are mounted. `unified`: version 2, empty if there is none.

    `v1`: controller to mount point. `v2`: the controllers that the unified hierarchy has.
    """

    v1: dict[str, str]
    unified: str
    v2: frozenset[str]

    @property
    def kind(self) -> Kind:
        if self.v1:
            return "hybrid" if self.unified else "v1"
        return "v2" if self.unified else "none"

    @property
    def is_pure(self) -> bool:
        return self.kind == "v2"

    def missing(self) -> list[str]:
        """Return what is needed for limits and not there."""
        have = self.v2 if self.is_pure else set(self.v1)
        return [name for name in LIMITED if name not in have]

    def can_freeze(self) -> bool:
        return self.is_pure or "freezer" in self.v1

    def directories(self, group: str) -> list[str]:
        """Return the directories of a group of ours in every hierarchy that it is in."""
        if self.is_pure:
            return [self.unified + group]
        return list(dict.fromkeys(self.v1[name] + group for name in _USED if name in self.v1))

    def everywhere(self, group: str) -> list[str]:
        """Return where a group may be in all hierarchies, those that only others use too."""
        mounts = [*self.v1.values()] + ([self.unified] if self.unified else [])
        return [mount + group for mount in dict.fromkeys(mounts)]

    def of(self, controller: str, group: str) -> str | None:
        """Return the directory of a group where this controller is; None if it is nowhere."""
        if self.is_pure:
            return self.unified + group
        mount = self.v1.get(controller)
        return None if mount is None else mount + group


def parse_layout(mountinfo: str, v2_controllers: str = "") -> Layout:
    """Return the layout that a mountinfo file shows; the second text is of cgroup.controllers.

    Of several mounts of one hierarchy the first counts.
    """
    v1: dict[str, str] = {}
    unified = ""
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        tail = fields.index("-") if "-" in fields else len(fields)
        kind, point = fields[tail + 1 : tail + 2], _unescape(fields[4])
        if kind == ["cgroup2"]:
            unified = unified or point
        elif kind == ["cgroup"]:
            for word in fields[tail + 3].split(","):
                name = word.removeprefix("name=")
                if name not in ("rw", "ro", "xattr", "nsdelegate"):
                    v1.setdefault(name, point)
    return Layout(v1, unified, frozenset(v2_controllers.split()))


def enabling(group: str) -> list[tuple[str, str]]:
    """Return what must be written, in this order, so that a version 2 group has controllers.

    Pairs of a group's path and the text for its cgroup.subtree_control: every group above must pass them on.
    """
    parts = group.strip("/").split("/")
    above = ["", *("/" + "/".join(parts[: n + 1]) for n in range(len(parts) - 1))]
    return [(path, "".join(f"+{name} " for name in LIMITED).strip()) for path in above]


def _unescape(field: str) -> str:
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
