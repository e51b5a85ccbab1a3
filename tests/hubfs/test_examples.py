"""The examples do what they say, under dash and under bash, near and far."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.commands import environment, run
from tests.hubfs.test_mount import wait_until
from tests.kit.hubs import far_hub_mount, hub_mount

EXAMPLES = Path(__file__).parents[2] / "examples" / "hubs"

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["near", "far", "two hosts"])
def place(request: pytest.FixtureRequest, tmp_path: Path, home: Path) -> Iterator[Path]:
    """Hubs of this machine, hubs behind a socket, and hubs of another host behind a secure stream."""
    if request.param == "two hosts":
        with far_hub_mount(tmp_path) as point:
            yield point
        return
    address = f"unix!{tmp_path}/socket"
    with ExitStack() as stack:
        point = stack.enter_context(hub_mount(tmp_path / "near", "--listen", address))
        if request.param == "far":
            point = stack.enter_context(hub_mount(tmp_path / "far", "-r", address))
        yield point


def example(shell: str, name: str, *words: str | Path) -> str:
    return run(shell, EXAMPLES / name, *words).stdout.decode()


def test_log(shell: str, place: Path) -> None:
    assert example(shell, "log.sh", place).splitlines() == [
        f"reader {n}: 100 lines, the last: line 100" for n in range(10)
    ]


def test_queue(shell: str, place: Path) -> None:
    assert example(shell, "queue.sh", place).splitlines() == [
        f"job {n}: {n * n}" for n in range(1, 21)
    ]


def test_share(shell: str, place: Path) -> None:
    assert "42 from /usr\n" in example(shell, "share.sh", place)


def test_chat(shell: str, place: Path) -> None:
    def join(nick: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [shell, EXAMPLES / "chat.sh", place, nick],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )

    def readers() -> int:
        lines = (place / "ctl").read_text().splitlines()
        return next((int(w.split()[4]) for w in lines if w.startswith("chat: ")), 0)

    with join("ann") as ann:
        wait_until(lambda: readers() == 1)
        with join("bob") as bob:
            wait_until(lambda: readers() == 2)
            assert ann.stdin is not None
            assert bob.stdin is not None
            ann.stdin.write(b"hello there\n")
            ann.stdin.flush()
            wait_until(lambda: "bytes 41 " in (place / "ctl").read_text())
            bob.stdin.write(b"hi\n")
            bob.stdin.close()
            assert bob.wait(20) == 0
        wait_until(lambda: readers() == 1)
        expected = ["* ann joins", "* bob joins", "ann: hello there", "bob: hi", "* bob leaves"]
        assert ann.stdout is not None
        assert [ann.stdout.readline().decode().rstrip() for _ in expected] == expected
        ann.stdin.close()
        assert ann.wait(20) == 0
