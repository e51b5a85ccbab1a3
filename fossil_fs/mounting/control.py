"""The control directory of a mount: `ctl`, `status`, `score`, and what else is put in."""

import os
import stat
import time
from collections.abc import Awaitable, Callable, Sequence
from errno import EBUSY, EHOSTUNREACH, EINVAL, EIO, EMSGSIZE, ENOENT, ENOSPC
from typing import Final

from fossil_fs.control.item import Folder, Item, Text
from fossil_fs.mounting.errors import Found
from lib9.errors import Exit, SpawngridError
from lib9.fuse.interface import Attributes, Buffer
from lib9.telling import error_line

COMMANDS_MAX: Final = 64 << 10  # bytes of one write to ctl
ERRNO: Final = {
    Exit.USAGE: EINVAL,
    Exit.NOT_FOUND: ENOENT,
    Exit.NO_SPACE: ENOSPC,
    Exit.UNSAVED: EBUSY,
    Exit.UNREACHABLE: EHOSTUNREACH,
}

Say = Callable[[str], Awaitable[Sequence[str]]]  # a line in, what it answers out


def about_now(mode: int) -> Attributes:
    """Return attributes of this moment, which the kernel shall not keep."""
    now = time.time_ns()
    return Attributes(
        ino=0,
        mode=mode,
        nlink=2 if stat.S_ISDIR(mode) else 1,
        uid=os.geteuid(),
        gid=os.getegid(),
        atime_ns=now,
        mtime_ns=now,
        ctime_ns=now,
        btime_ns=now,
        keep_seconds=0.0,
    )


def control_directory() -> Folder:
    """Return a control directory that is empty."""
    return Folder("control", about_now(stat.S_IFDIR | 0o555))


def fill(folder: Folder, say: Say, shown: dict[str, Callable[[], Sequence[str]]]) -> None:
    """Put in `ctl`, which does what is written to it, and files that show lines of text."""
    console = _Ctl(say)

    async def ctl() -> Item:
        return _CtlFile(console)

    folder.put(b"ctl", ctl)
    for name, lines in shown.items():
        folder.put(name.encode(), _text_maker(name, lines))


def _text_maker(name: str, lines: Callable[[], Sequence[str]]) -> Callable[[], Awaitable[Item]]:
    async def make() -> Item:
        content = _encode(lines())
        return Text((name, content), content, about_now(stat.S_IFREG | 0o444))

    return make


def _encode(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


class _Ctl:
    """What the last commands said; `state` counts whatever was done to the file."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.answer = b""
        self.state = 0

    def clear(self) -> None:
        self.answer = b""
        self.state += 1

    async def run(self, data: bytes) -> None:
        """Do all lines of `data`; OSError for the first that fails. The answer says the rest."""
        answer: list[str] = []
        try:
            for line in data.decode(errors="surrogateescape").splitlines():
                answer += await self._say(line)
        except SpawngridError as error:
            answer += error.lines if isinstance(error, Found) else ()
            answer.append(f"error: {error_line(error)}")
            number = ERRNO.get(error.exit_code, EIO)
            raise OSError(number, str(error)) from error
        except OSError as error:
            answer.append(f"error: {error_line(error)}")
            raise
        finally:
            self.answer = _encode(answer)
            self.state += 1


class _CtlFile(Text):
    """`ctl` as the last command left it."""

    def __init__(self, console: _Ctl) -> None:
        about = about_now(stat.S_IFREG | 0o600)
        super().__init__(("ctl", console.state), console.answer, about)
        self._console = console

    def truncate(self, size: int) -> None:
        if size == 0:
            self._console.clear()
            self._hold(b"")

    def _hold(self, content: bytes) -> None:
        self.content = content
        self.about.size = len(content)

    async def read(self, offset: int, size: int) -> Sequence[Buffer]:
        return [self.content[offset : offset + size]]

    async def write(self, data: bytes) -> None:
        if len(data) > COMMANDS_MAX:
            raise OSError(EMSGSIZE, "too many commands at once")
        try:
            await self._console.run(data)
        finally:
            self._hold(self._console.answer)
