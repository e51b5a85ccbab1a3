"""A day of a mount, typed into a real terminal: clone, build, edit, snapshot, roll back, crash, resume."""

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fossil_fs.cli.mounts import Machine, machine_at, wait_until

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux"),
    pytest.mark.skipif(shutil.which("git") is None, reason="no git"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler"),
]
SCRIPT = Path(__file__).with_name("day.txt")
HELLO = '#include <stdio.h>\nint main(void) { puts("hello, world"); return 0; }\n'
MAKEFILE = "hello: hello.c\n\tcc -o hello hello.c\n"


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


class Terminal:
    """bash in tmux; its prompt counts the commands."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._count = 1
        environment = {
            **os.environ,
            "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "PS1": r"day\#> ",
            "GIT_PAGER": "cat",
            "TERM": "screen",
        }
        command = ["new-session", "-d", "-x", "180", "-y", "50", "bash", "--norc", "--noprofile"]
        subprocess.run([*self._tmux, *command], cwd=folder, env=environment, check=True)
        wait_until(lambda: self._screen().rstrip().endswith("day1>"), 60)

    def _screen(self) -> str:
        command = [*self._tmux, "capture-pane", "-p", "-J", "-S", "-"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def type(self, line: str) -> str:
        """Type a command and return what the screen shows of it when the next prompt is there."""
        subprocess.run([*self._tmux, "send-keys", "-l", line], check=True)
        subprocess.run([*self._tmux, "send-keys", "Enter"], check=True)
        before, self._count = f"day{self._count}> ", self._count + 1
        wait_until(lambda: self._screen().rstrip().endswith(f"day{self._count}>"), 90)
        shown = self._screen().rpartition(before)[2]
        return shown.partition("\n")[2].rpartition(f"day{self._count}>")[0]

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False)


def steps() -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in SCRIPT.read_text().splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif not line.startswith("#"):
            found[-1][1].append(line)
    return found


def test_a_day(machine: Machine) -> None:
    home = machine.home
    (home / "empty").mkdir()
    machine.point("work")
    upstream = home / "upstream"
    upstream.mkdir()
    (upstream / "hello.c").write_text(HELLO)
    (upstream / "Makefile").write_text(MAKEFILE)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=upstream, check=True)
    terminal = Terminal(home)
    try:
        for command, patterns in steps():
            shown = terminal.type(command)
            at = 0
            for pattern in patterns:
                found = re.compile(pattern, re.MULTILINE).search(shown, at)
                assert found is not None, f"$ {command}\n{shown}\nlacks {pattern}"
                at = found.end()
            if not patterns:
                assert not shown.strip(), f"$ {command}\n{shown}"
    finally:
        terminal.close()
    assert machine.scratches() == []
