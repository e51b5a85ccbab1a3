"""The daemon's socket: `status`, and `wait COUNT SCORE SECONDS`. See lib9.asking for the lines."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from lib9.asking import LINE_MAX
from lib9.errors import Exit, SpawngridError, UsageError
from lib9.telling import error_line, exit_status

REQUEST_MAX: Final = 4096  # bytes
REQUEST_SECONDS_MAX: Final = 10.0  # until a client has said what it wants
CLIENTS_MAX: Final = 64

log = logging.getLogger("replicate")


class TooFewReplicas(SpawngridError):
    """The replicas that were waited for did not come in time; what was saved is safe here."""

    exit_code = Exit.UNREACHABLE


Status = Callable[[], dict[str, Any]]
Wait = Callable[[str, int, float], Awaitable[int]]


class Console:
    """Answers one client at each call."""

    def __init__(self, status: Status, wait: Wait) -> None:
        self._status, self._wait = status, wait
        self._clients = 0

    async def __call__(self, stream: trio.SocketStream) -> None:
        self._clients += 1
        try:
            if self._clients <= CLIENTS_MAX:
                await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # who asked went away
        finally:
            self._clients -= 1
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        line = b""
        with trio.move_on_after(REQUEST_SECONDS_MAX):
            while b"\n" not in line and len(line) < REQUEST_MAX:
                data = await stream.receive_some(REQUEST_MAX)
                if not data:
                    return
                line += data
        try:
            answer = await self._answer(line.partition(b"\n")[0].decode(errors="replace"))
        except (SpawngridError, ValueError) as error:
            answer = f"error {int(exit_status(error))} {error_line(error)}\n"
        except Exception as error:  # whoever asks must not end the daemon
            log.exception("%s: not answered", line[:80])
            answer = f"error {int(Exit.FAILED)} internal error: {type(error).__name__}\n"
        await stream.send_all(answer.encode())

    async def _answer(self, line: str) -> str:
        match shlex.split(line):
            case ["status"]:
                text = json.dumps(self._status())
                assert len(text) < LINE_MAX, "names and holes are bounded"
                return f"\t{text}\nok\n"
            case ["wait", count, score, seconds]:
                return f"ok {await self._wait(score, int(count), float(seconds))}\n"
            case _:
                raise UsageError(f"{line[:80]}: status, or wait COUNT SCORE SECONDS")
