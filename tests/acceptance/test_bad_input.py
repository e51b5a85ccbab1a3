"""What is wrong gets one line and a documented exit status, and harms nothing."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands import is_mounted, mounted, output, run, vac

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def complaint(*words: str | Path, status: int) -> str:
    """Run what must fail; return its one line of stderr."""
    lines = run(*words, status=status).stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{Path(words[0]).name}: ")
    assert "Traceback" not in lines[0]
    return lines[0]


@pytest.fixture
def score(tmp_path: Path) -> str:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("text\n")
    return vac(source)


def test_an_unknown_score(score: str, mount_point: Path) -> None:
    other = "vac:" + "ab" * 32
    assert other[4:12] in complaint("fossil-mount", other, mount_point, status=4)
    assert not is_mounted(mount_point)


@pytest.mark.parametrize(
    ("text", "status"), [("vac:zz", 2), ("cannot be", 2), ("", 2), ("nothing", 4), ("nothing~1", 4)]
)
def test_what_is_no_score_and_no_name(
    score: str, mount_point: Path, text: str, status: int
) -> None:
    assert run("fossil-mount", text, mount_point, status=status).stderr.count(b"\n") == 1
    assert not is_mounted(mount_point)


def test_a_score_of_the_other_family(score: str, mount_point: Path) -> None:
    assert "a store of blake3 scores" in complaint(
        "fossil-mount", "vac:" + "1" * 40, mount_point, status=6
    )


def test_a_store_that_is_not_there(score: str, tmp_path: Path, mount_point: Path) -> None:
    complaint("fossil-mount", "--store", str(tmp_path / "nowhere"), score, mount_point, status=6)
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_someone_else(score: str, tmp_path: Path, mount_point: Path) -> None:
    store = tmp_path / "theirs"
    run("venti", "init", store)
    for path in [store, *store.iterdir()]:
        os.chown(path, 4321, 4321)
    assert "4321" in complaint("fossil-mount", "--store", str(store), score, mount_point, status=6)


def test_a_mount_point_that_is_missing_or_not_empty(score: str, tmp_path: Path) -> None:
    complaint("fossil-mount", score, tmp_path / "missing", status=8)
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    assert "empty" in complaint("fossil-mount", score, full, status=8)
    (tmp_path / "plain").touch()
    complaint("fossil-mount", score, tmp_path / "plain", status=8)


def test_a_dead_mount_is_found_and_cleaned(score: str, mount_point: Path) -> None:
    run("fossil-mount", score, mount_point)
    os.kill(_daemon_of(mount_point), signal.SIGKILL)
    _until_dead(mount_point)
    with mounted(score, mount_point) as mnt:
        assert (mnt / "file").read_text() == "text\n"
    assert not is_mounted(mount_point)


def _until_dead(path: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.stat(path / "file")
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return
        time.sleep(0.01)
    raise AssertionError("the mount lives on without its daemon")


def _daemon_of(mount_point: Path) -> int:
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "spawngrid" / "mounts"
    for record in folder.glob("*.ndb"):
        words = dict(word.split("=", 1) for word in record.read_text().split() if "=" in word)
        if words["mnt"] == str(mount_point):
            return int(words["pid"])
    raise AssertionError(f"no record of {mount_point} in {folder}")


def test_umount_does_not_lose_unsaved_work(score: str, mount_point: Path) -> None:
    run("fossil-mount", score, mount_point)
    (mount_point / "new").write_text("work")
    complaint("fossil-umount", mount_point, status=9)
    assert (mount_point / "new").read_text() == "work"
    saved = output("fossil-umount", "--save", mount_point).splitlines()[-1]
    assert not is_mounted(mount_point)
    with mounted(saved, mount_point) as mnt:
        assert (mnt / "new").read_text() == "work"


def test_umount_of_what_is_not_mounted(mount_point: Path) -> None:
    complaint("fossil-umount", mount_point, status=4)


def test_one_flipped_byte_is_an_io_error_that_names_the_score(
    tmp_path: Path, mount_point: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "bad").write_bytes(os.urandom(50_000))
    (source / "good").write_bytes(os.urandom(50_000))
    store = tmp_path / "store"
    run("venti", "init", store)
    score = vac("--store", str(store), source)
    data = store / "data.mdb"
    body = bytearray(data.read_bytes())
    at = bytes(body).find((source / "bad").read_bytes()[1000:3000])
    assert at > 0
    body[at + 7] ^= 1
    data.write_bytes(body)
    with mounted(score, mount_point, "--store", str(store)) as mnt:
        with pytest.raises(OSError, match="Input/output error"):
            (mnt / "bad").read_bytes()
        assert (mnt / "good").read_bytes() == (source / "good").read_bytes()
    assert run("venti", "check", "--store", str(store), status=5).stdout + b"" is not None
    assert vac("--store", str(store), source) == score
    with mounted(score, mount_point, "--store", str(store)) as mnt:
        assert (mnt / "bad").read_bytes() == (source / "bad").read_bytes()


def test_no_command_shows_a_traceback_for_nonsense(tmp_path: Path) -> None:
    commands = [
        "vac",
        "unvac",
        "fossil-mount",
        "fossil-umount",
        "fossil-save",
        "fossil-scratch",
        "fossil-ls",
        "fossil-cat",
    ]
    for command in commands:
        for words in ([], ["--nonsense"], ["\x01"], ["/nonexistent", "/nonexistent"]):
            done = subprocess.run(
                [command, *words],
                capture_output=True,
                env={**os.environ, "PATH": _path()},
                check=False,
                timeout=60,
            )
            assert done.returncode != 0
            assert b"Traceback" not in done.stderr, (command, words)


def _path() -> str:
    from tests.commands import BIN

    return f"{BIN}:{os.environ['PATH']}"
