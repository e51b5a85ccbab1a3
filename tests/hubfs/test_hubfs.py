"""The command hubfs: what it refuses, and those who dial in and do not behave."""

import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from hubfs.net.dialing import CONNECTIONS_MAX
from tests.commands import is_mounted, run
from tests.hubfs.test_mount import wait_until
from tests.kit.hubs import daemon_of, hub_mount

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-q", "0"], "at least 1"),
        (["-q", "100000T"], "more than this machine has"),
        (["-q", "-5"], "not a size: '-5'"),
        (["-l", "2M"], "a message has 1 to 1040384 bytes"),
        (["-b", "0"], "at least 1"),
        (["-i", "-5"], "not below 0"),
        (["-r", "soon"], "soon: neither an address (tcp!HOST!PORT …) nor a time"),
        (["-r", "tcp!127.0.0.1!1", "-q", "1M"], "is said where they are"),
        (["-r", "tcp!127.0.0.1!1", "-t"], "is said where they are"),
        (["-s", "a\nb"], "printable"),
        (["--listen", "bogus"], "bogus: not an address"),
    ],
    ids=lambda words: " ".join(words).replace("\n", " ") if isinstance(words, list) else "",
)
def test_what_cannot_be_meant_is_wrong_usage(
    tmp_path: Path, home: Path, words: list[str], said: str
) -> None:
    done = run("hubfs", *words, tmp_path, status=2)
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert not is_mounted(tmp_path)


def test_a_place_that_is_no_empty_directory(tmp_path: Path, home: Path) -> None:
    (tmp_path / "file").touch()
    with hub_mount(tmp_path / "hubs") as hubs:
        (hubs / "kept").touch()
        for point, why in [
            (hubs, "something is mounted there already"),
            (tmp_path / "file", "Not a directory"),
            (tmp_path / "nosuch", "No such file or directory"),
            (tmp_path, "not empty"),
        ]:
            assert run("hubfs", point, status=8).stderr.decode() == f"hubfs: {point}: {why}\n"
        assert (hubs / "kept").exists()


def test_a_log_that_cannot_be_written(tmp_path: Path, home: Path) -> None:
    log = tmp_path / "nosuch" / "log"
    (tmp_path / "hubs").mkdir()
    said = run("hubfs", "--log", log, tmp_path / "hubs", status=1).stderr.decode()
    assert said == f"hubfs: {log}: No such file or directory\n"
    assert not is_mounted(tmp_path / "hubs")


def test_a_hub_has_no_links_and_its_name_is_a_word(hubs: Path) -> None:
    (hubs / "h").touch()
    for make in (
        lambda: (hubs / "link").symlink_to("h"),
        lambda: os.link(hubs / "h", hubs / "link"),
        lambda: os.mkfifo(hubs / "link"),
    ):
        with pytest.raises(PermissionError):
            make()
    for name in ("two words", "line\n", "clear\x1b[2J"):
        with pytest.raises(OSError, match="Invalid argument"):
            (hubs / name).touch()
    assert sorted(path.name for path in hubs.iterdir()) == ["ctl", "h"]


def test_the_status_says_why_a_command_was_refused(hubs: Path) -> None:
    with pytest.raises(OSError, match="Invalid argument"), (hubs / "ctl").open("w") as ctl:
        ctl.write("fear nosuch")
    assert "\nlast command refused: nosuch: no such hub\n" in (hubs / "ctl").read_text()
    (hubs / "ctl").write_text("calm")
    assert "refused" not in (hubs / "ctl").read_text()


def test_readers_of_a_daemon_that_is_killed_end_with_an_error(hubs: Path) -> None:
    (hubs / "h").touch()
    words = ["sh", "-c", f"cat {hubs}/h; echo ended $?"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        wait_until(lambda: " readers 1 " in (hubs / "ctl").read_text())
        os.kill(daemon_of(hubs), 9)
        said, _ = child.communicate(timeout=30)
    assert said == b"ended 1\n"
    assert b"removed a dead mount" in run("hubfs", hubs).stderr
    assert (hubs / "ctl").exists()


def test_many_who_dial_and_say_nothing_stop_nobody(tmp_path: Path, home: Path) -> None:
    path = f"{tmp_path}/socket"
    with hub_mount(tmp_path / "hubs", "--listen", f"unix!{path}") as hubs, ExitStack() as stack:
        silent = []
        for _ in range(CONNECTIONS_MAX + 100):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)
            silent.append(client)
        assert silent[-1].recv(1) == b""  # turned away
        (hubs / "h").write_text("said")
        assert "h: bytes 4 " in (hubs / "ctl").read_text()
        open_files = len(os.listdir(f"/proc/{daemon_of(hubs)}/fd"))
        assert open_files < CONNECTIONS_MAX + 50
        for client in silent:
            client.close()
        with hub_mount(tmp_path / "far", "-r", f"unix!{path}") as far:
            assert (far / "h").exists()
