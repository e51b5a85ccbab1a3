"""What a restoring run has done so far, and what it could not do."""

from collections.abc import Callable
from dataclasses import dataclass, field


def _silent(_path: bytes, _what: str) -> None:
    pass


@dataclass(slots=True)
class Report:
    """Counts of a run, and where to tell what happens.

    A *trouble* is a file that is not there now. A *loss* is something of a file that could not be
    restored with it: its owner, an attribute; `losses` counts them by kind, since as an ordinary
    user there may be one for every file.
    """

    files: int = 0  # everything that is not a directory
    directories: int = 0
    size: int = 0  # bytes of files
    troubles: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    on_trouble: Callable[[bytes, str], None] = _silent
    on_loss: Callable[[bytes, str], None] = _silent
    on_done: Callable[[bytes], None] = lambda _path: None

    def trouble(self, path: bytes, why: str) -> None:
        self.troubles += 1
        self.on_trouble(path, why)

    def loss(self, path: bytes, what: str) -> None:
        self.losses[what] = self.losses.get(what, 0) + 1
        self.on_loss(path, what)
