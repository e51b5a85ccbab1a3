"""Remote hub mounts as real processes: over a unix socket, and between two network namespaces."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.commands import environment, is_mounted, run
from tests.hubfs.test_mount import TEXT, readers, wait_until
from tests.kit.hubs import hub_mount, public_key
from tests.kit.mounts import take_down
from tests.kit.netns import Host, two_hosts

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def pair(tmp_path: Path, home: Path) -> Iterator[tuple[Path, Path]]:
    """A hub mount, and a remote mount of it over a unix socket."""
    address = f"unix!{tmp_path}/socket"
    with (
        hub_mount(tmp_path / "near", "--listen", address, "--log", tmp_path / "near.log") as near,
        hub_mount(tmp_path / "far", "-r", address, "--log", tmp_path / "far.log") as far,
    ):
        yield near, far


def test_both_sides_are_one(pair: tuple[Path, Path]) -> None:
    near, far = pair
    (far / "log").write_bytes(TEXT[:4])
    with subprocess.Popen(["cat", far / "log"], stdout=subprocess.PIPE) as child:
        wait_until(lambda: readers(near, "log") == 1)
        with (near / "log").open("ab", buffering=0) as writer:
            writer.write(TEXT[4:])
        wait_until(lambda: "log: bytes 14 readers 1 lag 0 lost 0" in (far / "ctl").read_text())
        (near / "log").unlink()
        assert child.communicate(timeout=10)[0] == TEXT
    assert "client uid 0 at unix!" in (near / "ctl").read_text()
    assert "from unix!" in (far / "ctl").read_text()


@pytest.mark.shim("interrupts")
@pytest.mark.parametrize("program", [["cat"], ["sed", "-n", "p"], ["awk", "{print}"]])
def test_blocked_far_readers_take_signals(pair: tuple[Path, Path], program: list[str]) -> None:
    near, far = pair
    (near / "h").touch()
    with subprocess.Popen([*program, far / "h"], stdout=subprocess.PIPE) as child:
        wait_until(lambda: readers(near, "h"))
        for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGWINCH):
            child.send_signal(number)
        (near / "h").write_bytes(TEXT)
        (near / "h").unlink()
        assert child.communicate(timeout=10)[0] == TEXT
    (near / "h").touch()
    for number in (signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen([*program, far / "h"]) as child:
            wait_until(lambda: readers(near, "h"))
            child.send_signal(number)
            assert child.wait(10) == -number
        wait_until(lambda: not readers(near, "h"))


@pytest.mark.shim("interrupts")
def test_a_far_writer_that_is_held_can_be_killed(pair: tuple[Path, Path]) -> None:
    near, far = pair
    (near / "h").touch()
    slow = os.open(near / "h", os.O_RDONLY)
    (near / "ctl").write_text("fear h")
    (far / "h").write_bytes(bytes(100_000))
    for number in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen(["sh", "-c", f"echo held >> {far}/h"]) as writer:
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(1)  # longer than a near writer is held
            writer.send_signal(number)
            assert writer.wait(5) == -number
    os.close(slow)


def test_names_modes_and_refusals(pair: tuple[Path, Path]) -> None:
    near, far = pair
    (far / "group").mkdir()
    (far / "group" / "a").write_bytes(b"1")
    (far / "group" / "a").rename(far / "b")
    (far / "group").rmdir()
    (far / "b").chmod(0o600)
    assert sorted(p.name for p in far.iterdir()) == ["b", "ctl"]
    assert (near / "b").stat().st_mode & 0o777 == 0o600
    for bad in (b"bogus", b"eof nosuch"):
        with (
            pytest.raises(OSError, match="Invalid argument"),
            (far / "ctl").open("wb", buffering=0) as ctl,
        ):
            ctl.write(bad)
    with (
        pytest.raises(OSError, match="Message too long"),
        (far / "b").open("ab", buffering=0) as hub,
    ):
        hub.write(bytes(700_000))
    for name in (b"n" * 256, b"n" * 1000, b"a\nb"):
        with pytest.raises(OSError, match=r"too long|Invalid"):
            os.close(os.open(os.fsencode(far) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    (far / ("n" * 255)).touch()
    (far / ("n" * 255)).unlink()
    assert "b: bytes 1 " in (near / "ctl").read_text()
    # frozen, it is a plain file here too
    (near / "ctl").write_text("freeze b")
    (far / "b").write_bytes(TEXT)
    assert (far / "b").read_bytes() == TEXT
    assert (far / "b").stat().st_size == len(TEXT)


def test_quit_ends_both_mounts(pair: tuple[Path, Path]) -> None:
    near, far = pair
    (far / "h").write_bytes(TEXT)
    with subprocess.Popen(["cat", far / "h"], stdout=subprocess.PIPE) as child:
        wait_until(lambda: readers(near, "h"))
        (far / "ctl").write_text("quit")
        assert child.communicate(timeout=10)[0] == TEXT
    wait_until(lambda: not is_mounted(near) and not is_mounted(far))


def test_errors_at_the_start_reach_the_user(tmp_path: Path, home: Path) -> None:
    point = tmp_path / "p"
    point.mkdir()
    for words, status in (
        (("-r", f"unix!{tmp_path}/nobody"), 10),
        (("--listen", f"unix!{tmp_path}/no/such/place"), 1),
        (("--listen", "noise!127.0.0.1!0"), 2),  # without a key
        (("-r", "noise!127.0.0.1!1"), 2),
    ):
        done = subprocess.run(
            ["hubfs", *words, point],
            env=environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert done.stderr.startswith(b"hubfs: ")
        assert done.stderr.count(b"\n") == 1
        assert not is_mounted(point)


def test_between_two_network_name_spaces_with_rights_by_key(tmp_path: Path, home: Path) -> None:
    with two_hosts(tmp_path) as hosts:
        _rights_by_key(*hosts, tmp_path)


def _rights_by_key(a: Host, b: Host, tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    address = f"noise!{a.address}!17777"
    server = f"sys=a dial={address} pubkey={public_key(a)}"
    user = f"user=glenda pubkey={public_key(b)}"
    b.know(server)
    a.know(user + " right=hub.read")
    with ExitStack() as stack:
        for point in (near, far):
            point.mkdir()
            stack.callback(take_down, point)
        a.run("hubfs", "--listen", address, near)
        (near / "log").write_bytes(TEXT)
        a.run("sh", "-c", f"echo freeze log > {near}/ctl")
        b.run("hubfs", "-r", address, far)
        assert (far / "log").read_bytes() == TEXT
        for refused in (far / "log", far / "new", far / "ctl"):
            with pytest.raises(PermissionError):
                refused.write_bytes(b"melt")
        run("umount", far)
        a.know(user + " right=hub.read right=hub.append right=hub.create")
        b.run("hubfs", "-r", address, far)
        with pytest.raises(PermissionError):
            (far / "log").write_bytes(b"not mine")
        (far / "mine").write_bytes(b"x")
        assert "mine: bytes 0 readers 0 lag 0 lost 0" not in (near / "ctl").read_text()
        assert "writer glenda" in (near / "ctl").read_text()
        assert "client glenda at noise!10.77.7.2" in (near / "ctl").read_text()
        # the cable is cut and mended: the reader goes on where it was
        with subprocess.Popen(["cat", far / "mine"], stdout=subprocess.PIPE) as child:
            wait_until(lambda: readers(near, "mine"))
            b.run("ss", "-K", "dst", a.address)
            with (near / "mine").open("ab", buffering=0) as writer:
                writer.write(b"yz")
            wait_until(lambda: "connects 2" in (far / "ctl").read_text())
            (near / "mine").unlink()
            assert child.communicate(timeout=30)[0] == b"xyz"
        run("umount", far)
        a.know()
        said = b.run("hubfs", "-r", address, far, status=1).stderr
        assert b"no right to hubs here" in said
