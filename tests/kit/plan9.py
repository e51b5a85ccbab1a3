"""plan9port's programs, where $PLAN9 names them built."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PLAN9 = Path(os.environ.get("PLAN9", "/usr/local/plan9"))
NEEDED = ("venti/read", "venti/write", "venti/copy", "venti/venti", "vac", "unvac", "vacfs")
START_SECONDS_MAX = 20


class Programs:
    """The programs of plan9port, talking to one server."""

    def __init__(self, address: str) -> None:
        self.environ = {**os.environ, "PLAN9": str(PLAN9), "venti": address}

    def __call__(
        self, name: str, *args: object, data: bytes = b"", check: bool = True, cwd: object = None
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [PLAN9 / "bin" / name, *map(str, args)],
            input=data, capture_output=True, env=self.environ, timeout=60, cwd=cwd,  # type: ignore[call-overload]
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done


@contextmanager
def plan9_server(folder: Path) -> Iterator[str]:
    """Run plan9port's venti on small arenas in `folder`; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run = Programs("")
    for name, size in (("arena", 128 << 20), ("isect", 16 << 20)):
        (folder / name).touch()
        os.truncate(folder / name, size)
    run("venti/fmtarenas", "arena", folder / "arena")
    run("venti/fmtisect", "isect", folder / "isect")
    address = f"tcp!127.0.0.1!{port}"
    (folder / "conf").write_text(
        f"index main\nisect {folder}/isect\narenas {folder}/arena\naddr {address}\n"
    )
    run("venti/fmtindex", folder / "conf")
    process = subprocess.Popen(
        [PLAN9 / "bin/venti/venti", "-d", "-c", folder / "conf"],
        env=run.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()
        _end_servers(folder / "conf")  # it serves in a child, which outlives it


def _end_servers(conf: Path) -> None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.fsencode(conf) in (entry / "cmdline").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
