"""`grid run ENV true` beside `ssh localhost true`: both through the loopback, with keys, to their end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.context import Context
from tests.bench.rows import Row
from tests.commands import environment
from tests.spawngrid.kit import PROGRAMS, Grid, busybox, free_port, wait_until

CALLS = 5
GRID, SSH = "grid", "ssh"


def run(ctx: Context) -> Iterable[Row]:
    if os.geteuid() or not all(map(shutil.which, PROGRAMS)):
        ctx.say(f"left out: needs root and {', '.join(PROGRAMS)}")
        return
    with ctx.scratch() as scratch:
        grid = Grid(scratch)
        try:
            node = grid.storage()
            node.start()
            node.record("glenda", "clean", node.vac(busybox(scratch / "root")))
            glenda = grid.user(node, "glenda")
            glenda("spawn", "clean", "--as", "e", "--network", "none")
            program = Path(sys.executable).parent / "grid"
            ours = _timed(ctx, [str(program), "run", "e", "true"], glenda.variables)
            contestants = {GRID: ours}
            with _sshd(scratch / "ssh") as command:
                if command:
                    contestants[SSH] = _timed(ctx, command, {})
                times = ctx.race(contestants)
            peer = ctx.peer("ssh", "-V") or "no sshd"
            yield Row(
                "grid run ENV true",
                "ms",
                times[GRID],
                times.get(SSH, ()),
                peer=f"{peer}, localhost true",
                target=1.0,
                target_is="ratio",
                flags="a new connection each",
            )
        finally:
            grid.close()


def _timed(ctx: Context, command: Sequence[str], variables: Mapping[str, str]):
    calls = ctx.size(CALLS, 1)

    def once() -> None:
        subprocess.run(
            command,
            env=environment(dict(variables)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    measure = ctx.microseconds(once, calls)
    return lambda: measure() / 1000


@contextmanager
def _sshd(folder: Path) -> Iterator[list[str]]:
    """Run an sshd of our own; give the command that runs true by it, nothing where there is none."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None or shutil.which("ssh") is None:
        yield []
        return
    folder.mkdir()
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    Path("/run/sshd").mkdir(exist_ok=True)
    options = [f"HostKey={folder}/host", f"AuthorizedKeysFile={folder}/authorized", "UsePAM=no"]
    options += ["StrictModes=no", f"PidFile={folder}/pid", "ListenAddress=127.0.0.1"]
    flags = [word for option in options for word in ("-o", option)]
    server = subprocess.Popen([sshd, "-D", "-f", "/dev/null", "-p", str(port), *flags])
    command = [
        "ssh",
        "-p",
        str(port),
        "-i",
        str(folder / "user"),
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
    ]
    command += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known"]
    command += ["-o", "LogLevel=ERROR", "127.0.0.1", "true"]
    try:
        wait_until(
            lambda: subprocess.run(command, check=False, capture_output=True).returncode == 0
        )
        yield command
    finally:
        server.terminate()
        server.wait()
