"""fio with verification and stress-ng's file system stressors on a mount; afterwards all is still right."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fossil_fs.posix.pair import Pair

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(1800)]

_COMMON = [
    "--verify=crc32c",
    "--verify_fatal=1",
    "--verify_state_save=0",
    "--size=24m",
    "--randseed=7",
]
FIO = {
    "4k-random": ["--rw=randwrite", "--bs=4k", "--fsync=100"],
    "odd-sizes": ["--rw=randwrite", "--bsrange=512-200k", "--bs_unaligned"],
    "mixed-direct": ["--rw=randrw", "--bs=4k", "--direct=1", "--numjobs=2"],
    "mapped": ["--rw=randwrite", "--bs=4k", "--ioengine=mmap"],
    "many-at-once": ["--rw=randrw", "--bs=16k", "--ioengine=libaio", "--iodepth=16", "--direct=1"],
    "backwards": ["--rw=write:-8k", "--bs=8k"],
    "holes": ["--rw=randwrite", "--bs=4k", "--size=300m", "--io_size=16m", "--fallocate=none"],
    "several-files": ["--rw=randwrite", "--bs=8k", "--nrfiles=20", "--numjobs=3"],
}
# of stress-ng's classes filesystem and io, those that touch files. Not io-uring, which fails on ext4 and
# tmpfs too, nor fanotify, which watches every mount of the machine: those of tests beside it stay busy
STRESSORS = """
access aio aiol chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup fallocate
fcntl file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix lease link
locka lockf lockofd mknod mmap msync msyncmany open readahead rename revio seek sendfile splice symlink
sync-file touch utime xattr
""".split()  # noqa: SIM905 a list of words
_SECONDS = 3
_SIZES = """
--copy-file-bytes 128m --fallocate-bytes 32m --hdd-bytes 16m --iomix-bytes 16m --mmap-bytes 16m --mmap-file
--msync-bytes 16m --readahead-bytes 16m --revio-bytes 16m --seek-size 16m
""".split()  # noqa: SIM905
_NOT_HERE = (3, 4)  # stress-ng: no resources, not implemented


@pytest.fixture
def mount(pair: Pair) -> Path:
    return Path(os.fsdecode(pair.tops[1]))


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program}")


@pytest.mark.parametrize("job", FIO)
def test_fio_finds_what_it_wrote(pair: Pair, mount: Path, job: str) -> None:
    need("fio")
    command = ["fio", f"--name={job}", f"--directory={mount}", *_COMMON, *FIO[job]]
    subprocess.run(command, check=True, capture_output=True)
    pair.remount()
    subprocess.run([*command, "--verify_only"], check=True, capture_output=True)


@pytest.mark.parametrize("pair", ["plain"], indirect=True)
def test_stressors(pair: Pair, mount: Path) -> None:
    """Each for some seconds, checking its own results; the daemon lives, and the tree can be saved."""
    need("stress-ng")
    failed = []
    for stressor in STRESSORS:
        command = ["stress-ng", f"--{stressor}", "2", "--timeout", str(_SECONDS), "--verify"]
        command += ["--temp-path", mount, *_SIZES]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode not in (0, *_NOT_HERE):
            failed.append((stressor, done.returncode, done.stderr[-2000:]))
    assert failed == []
    for left in os.listdir(mount):
        shutil.rmtree(mount / left)
    (mount / "after").write_text("works")
    pair.remount()
    assert (mount / "after").read_text() == "works"
