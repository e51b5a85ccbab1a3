"""Two users on two nodes work through a day: spawn, edit, save, share, invite, boom, come back."""

import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pexpect
import pytest

from tests.commands import environment
from tests.spawngrid.kit import Grid, Node, User, free_port, wait_until, with_clean

pytestmark = pytest.mark.timeout(300)
PATIENCE = 60


@pytest.fixture(scope="module")
def sto1(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Node:
    return with_clean(
        grid.storage("sto1", unlimited="yes"), tmp_path_factory.mktemp("root") / "root"
    )


@pytest.fixture(scope="module")
def cpu1(grid: Grid, sto1: Node) -> Node:
    made = grid.cpu(sto1, "cpu1")
    made.start()
    return made


@pytest.fixture(scope="module")
def glenda(grid: Grid, sto1: Node) -> User:
    return grid.user(sto1, "glenda")


@pytest.fixture(scope="module")
def bob(grid: Grid, sto1: Node) -> User:
    return grid.user(sto1, "bob")


@contextmanager
def terminal(user: User, *words: str, rows: int = 30, columns: int = 90) -> Iterator[pexpect.spawn]:
    """Run grid in a terminal of this size."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "spawngrid.cli.grid", *words],
        env=environment({**user.variables, "TERM": "dumb"}),
        dimensions=(rows, columns),
        timeout=PATIENCE,
        encoding="utf-8",
    )
    try:
        yield child
    finally:
        with suppress(OSError):
            child.kill(signal.SIGKILL)
        child.close(force=True)


def both_are_here(user: User) -> bool:
    return {row["node"] for row in user.json("nodes") if row["here"] == "1"} == {"sto1", "cpu1"}


def test_a_day(glenda: User, bob: User, sto1: Node, cpu1: Node) -> None:
    wait_until(lambda: both_are_here(glenda))
    glenda("spawn", "clean", "--as", "work", "--node", "cpu1", "--network", "none")
    with terminal(glenda, "attach", "work") as shell:
        shell.expect("# ")
        shell.sendline("stty size; tty; hostname")
        shell.expect("30 90")
        shell.expect("work")
        shell.setwinsize(40, 100)
        shell.sendline("sleep 1; stty size")
        shell.expect("40 100")
        shell.sendline("vi /etc/motd")
        shell.expect(re.escape("/etc/motd"))
        shell.send("ihello from glenda")
        shell.expect("hello from glenda")
        shell.send("\x1b")
        shell.expect("- /etc/motd")
        shell.send(":wq\r")
        shell.expect("# ")
        shell.sendline("cat /etc/motd; echo $((6*7))")
        shell.expect("hello from glenda")
        shell.expect("42")
        shell.sendline("sleep 1000")
        shell.send("\x03")
        shell.sendline("echo interrupted $?")
        shell.expect("interrupted 130")
        shell.sendline("exit 5")
        shell.expect(pexpect.EOF)
        shell.wait()
        assert shell.exitstatus == 5
    assert "mine saved" in glenda("save", "work", "mine")
    glenda("share", "bob", "mine")
    bob("spawn", "mine", "--as", "his", "--node", "sto1", "--network", "none")
    assert bob("run", "his", "cat", "/etc/motd") == "hello from glenda\n"
    bob("run", "his", "sh", "-c", "echo and from bob >> /etc/motd")
    assert "his saved" in bob("save", "his", "his")
    assert "not found for glenda" in glenda.refused("spawn", "his")
    glenda("invite", "bob", "work")
    with terminal(bob, "attach", "glenda/work") as shell:
        shell.expect("# ")
        shell.sendline("cat /etc/motd")
        shell.expect("hello from glenda")
        shell.send("\x1d")
        shell.expect(pexpect.EOF)
    assert "not owned by bob" in bob.refused("boom", "work")
    assert {row["env"] for row in bob.json("status")[1:]} == {"work", "his"}
    glenda("boom", "work")
    bob("boom", "his")
    # the next day: services were restarted meanwhile
    for node in (cpu1, sto1):
        node.stop()
    for node in (sto1, cpu1):
        node.start()
    wait_until(lambda: both_are_here(glenda))
    bob("spawn", "his", "--node", "cpu1", "--network", "none")
    assert bob("run", "his", "cat", "/etc/motd") == "hello from glenda\nand from bob\n"
    bob("boom", "his")
    for node in (sto1, cpu1):
        wait_until(lambda node=node: node.orphans() == [])


def test_the_environments_own_shell_goes_on(glenda: User, sto1: Node) -> None:
    glenda("spawn", "clean", "--as", "con", "--node", "sto1", "--network", "none")
    try:
        with terminal(glenda, "console", "con") as first:
            first.sendline("cd /etc; x=remembered")
            first.sendline("pwd")
            first.expect("/etc\r\n")
        with terminal(glenda, "console", "con") as second:
            second.sendline("echo it is $x in $PWD")
            second.expect("it is remembered in /etc")
    finally:
        glenda("boom", "con")


class Wire:
    """A port that leads to another, and can be cut."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._pairs += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for end in self._pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def test_a_terminal_survives_its_connection(glenda: User, sto1: Node) -> None:
    """By bubblewrap: what carries a command's terminal is then ours from one end to the other."""
    words = ["--as", "far", "--node", "sto1", "--network", "none", "--limits", "none"]
    glenda("spawn", "clean", *words)
    wire = Wire(sto1.config.listen.port)
    try:
        glenda("run", "far", "true")  # now the place is remembered: it is reached by our wire
        [place] = list((glenda.home / "cache").rglob("far"))
        place.write_text(
            place.read_text().replace(f"!{sto1.config.listen.port} ", f"!{wire.port} ")
        )
        with terminal(glenda, "attach", "far") as shell:
            shell.expect("# ")
            shell.sendline("x=kept; sleep 2; echo after the cut")
            wire.cut()
            shell.expect("after the cut")
            wire.cut()
            shell.sendline("echo $x twice; stty size")
            shell.expect("kept twice")
            shell.expect("30 90")
    finally:
        wire.close()
        glenda("boom", "far")
