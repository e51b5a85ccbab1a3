"""Which parts of an archive are wanted: a tree of names; nothing chosen means everything."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fossil_fs.format.names import check_name


@dataclass(slots=True)
class Selection:
    """A directory of which `names` are wanted, each with a selection below it; None: all of it."""

    names: "dict[bytes, Selection] | None" = None

    def below(self, name: bytes) -> "Selection":
        return EVERYTHING if self.names is None else self.names[name]


EVERYTHING = Selection()


@dataclass(slots=True)
class _Building:
    whole: bool = False
    names: "dict[bytes, _Building]" = field(default_factory=dict)

    def done(self) -> Selection:
        if self.whole:
            return EVERYTHING
        return Selection({name: below.done() for name, below in self.names.items()})


def select(paths: Iterable[bytes]) -> Selection:
    """Return the selection of `paths`, relative to the root; a path wants all below it.

    BadTree for a path with a part that cannot be a file's name, such as `..`.
    """
    top = _Building()
    chosen = False
    for path in paths:
        chosen = True
        at = top
        for part in path.split(b"/"):
            if part not in (b"", b"."):
                at = at.names.setdefault(check_name(part), _Building())
        at.whole = True
    return top.done() if chosen else EVERYTHING
