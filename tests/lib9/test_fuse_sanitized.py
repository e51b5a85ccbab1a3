"""The whole shim under AddressSanitizer: everything the kernel asks of a busy mount, and its answers."""

import contextlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lib9.fuse import mounts
from tests.lib9.mounting import TOP, wait_until
from tests.lib9.test_fuse_sparse import KEEP_SIZE, PUNCH_HOLE, extents, fallocate

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = tmp_path_factory.mktemp("asan") / f"_shim{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = [TOP / "lib9/fuse" / name for name in ("_shim.c", "answers.c", "wire.c")]
    include = sysconfig.get_path("include")
    command = ["gcc", "-g", "-O1", "-std=gnu11", "-shared", "-fPIC", f"-I{include}"]
    command += [
        "-fvisibility=hidden",
        "-fsanitize=address",
        "-fno-omit-frame-pointer",
        "-o",
        module,
        *sources,
    ]
    subprocess.run(command, check=True)
    return module


def _library() -> str:
    done = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True)
    return done.stdout.decode().strip()


def _use(point: Path) -> None:
    """Ask for everything there is, in sizes on both sides of the limits."""
    for number in range(600):  # a listing of several answers
        (point / f"{number:04}-{'n' * 200}").touch()
    assert len(os.listdir(point)) > 600
    for size in (0, 1, 4096, 16384, 16385, 1 << 20, (1 << 20) + 1, 3_000_000):
        data = os.urandom(size)
        (point / "a").write_bytes(data)
        descriptor = os.open(point / "a", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        assert (point / "a").read_bytes() == data
    os.setxattr(point / "a", "user.x", b"v" * 65000)
    assert len(os.getxattr(point / "a", "user.x")) == 65000
    assert os.listxattr(point / "a") == ["user.x"]
    os.symlink("t" * 4000, point / "link")
    assert len(os.readlink(point / "link")) == 4000
    os.mknod(point / "device", 0o020600, os.makedev(400, 70000))
    assert os.stat(point / "device").st_rdev == os.makedev(400, 70000)
    os.link(point / "a", point / "b")
    os.rename(point / "b", point / "c")
    with (point / "c").open("r+b") as stream:
        fallocate(stream.fileno(), PUNCH_HOLE | KEEP_SIZE, 4096, 1 << 20)
        assert len(extents(stream.fileno())) == 2
    subprocess.run(["stat", "-c", "%W", point / "c"], check=True, capture_output=True)
    descriptor = os.open(point, os.O_TMPFILE | os.O_RDWR)
    os.close(descriptor)
    for name in ("bad", "lost", "error-77"):
        with contextlib.suppress(OSError):
            (point / name).read_bytes()
            os.mknod(point / name)
    subprocess.run(["timeout", "0.3", "cat", point / "hub"], check=False)
    for path in point.iterdir():
        if path.name[0].isdigit():
            path.unlink()


def test_nothing_is_read_or_written_out_of_bounds(sanitized: Path, mount_point: Path) -> None:
    environment = {
        **os.environ,
        "LD_PRELOAD": _library(),
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:handle_segv=1",
        "PYTHONMALLOC": "malloc",
    }
    log = mount_point.parent / "log"
    command = [sys.executable, "-m", "tests.lib9.sanitized", str(sanitized), str(mount_point)]
    command += ["--option", "interruptible", "--keep", "0"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=TOP, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as daemon,
    ):
        assert daemon.stdout is not None
        said = daemon.stdout.readline()
        assert said.startswith("ready engine=shim"), said + log.read_text()
        try:
            _use(mount_point)
            mounts.unmount(os.fsencode(mount_point))
            assert daemon.wait(30) == 0, log.read_text()[-4000:]
        finally:
            if daemon.poll() is None:
                mounts.abort(int(said.split("minor=")[1]))
                daemon.kill()
    assert "AddressSanitizer" not in log.read_text()
    wait_until(lambda: mounts.fuse_mount_at(os.fsencode(mount_point)) is None)
