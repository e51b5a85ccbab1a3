"""What a toy would fail: kills at random moments, saves under load, the cap, damage in the store."""

import errno
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fossil_fs.cli.mounts import Machine, machine_at, wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


def resume(machine: Machine, point: Path) -> None:
    (scratch,) = machine.scratches()

    def resumed() -> bool:
        program = Path(sys.executable).parent / "fossil-scratch"
        done = subprocess.run(
            [program, "resume", scratch.name, point], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0 or "in use" in done.stderr, done.stderr
        return done.returncode == 0

    wait_until(resumed)


WRITER = """
import os, sys, hashlib, random
point, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
# three files that are fsynced at known moments, among other work; each fsynced state is reported
os.chdir(point)  # and stay in this mount when it is gone from the name space
files = [os.open(f"sync{n}", os.O_RDWR | os.O_CREAT) for n in range(3)]
step = 0
while True:
    step += 1
    n = rng.randrange(3)
    data = (b"%d:%d;" % (n, step)) * rng.choice([3, 500, 20000])
    os.pwrite(files[n], data, 0)
    os.ftruncate(files[n], len(data))
    os.fsync(files[n])
    sys.stdout.write(f"{n} {step} {len(data)} {hashlib.sha1(data).hexdigest()}\\n")
    sys.stdout.flush()
    name = f"other{rng.randrange(20)}"
    try:
        if rng.random() < 0.3:
            os.rename(name, f"other{rng.randrange(20)}")
        elif rng.random() < 0.2:
            os.unlink(name)
        else:
            with open(name, "wb") as file:
                file.write(os.urandom(rng.choice([10, 100000])))
    except FileNotFoundError:
        pass
"""


def run_writer_and_kill(machine: Machine, point: Path, seed: int) -> None:
    """Run the writer, kill the daemon at a moment that the seed says, resume, compare."""
    rng = random.Random(seed)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(point), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert writer.stdout is not None
    reports = rng.randrange(1, 40)
    synced: dict[int, tuple[int, int, str]] = {}
    for _ in range(reports):
        n, step, size, digest = writer.stdout.readline().split()
        synced[int(n)] = (int(step), int(size), digest)
    saver = None
    if seed % 3 == 0:
        program = Path(sys.executable).parent / "fossil-save"
        saver = subprocess.Popen(
            [program, point], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.random() * 0.2)  # somewhere in the save
    machine.kill(point)
    for line in writer.stdout:  # what was fsynced until the end
        n, step, size, digest = line.split()
        synced[int(n)] = (int(step), int(size), digest)
    writer.stdout.close()
    writer.wait()
    if saver is not None:
        saver.wait()
    resume(machine, point)
    for n, (step, size, digest) in synced.items():
        data = (point / f"sync{n}").read_bytes()
        if hashlib.sha1(data[:size]).hexdigest() == digest and len(data) == size:
            continue
        # the next write had begun: its bytes lie over the old ones, and nothing else does
        later = int(data.split(b";")[0].split(b":")[1])
        assert later > step, (seed, n)
    for path in point.iterdir():
        assert len(path.read_bytes()) == path.stat().st_size


@pytest.mark.parametrize("seed", [1, 3, 7])
def test_fsynced_bytes_survive_kills(machine: Machine, seed: int) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    run_writer_and_kill(machine, point, seed)
    run_writer_and_kill(machine, point, seed + 100)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_fsynced_bytes_survive_fifty_kills(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    for seed in range(50):
        run_writer_and_kill(machine, point, seed)


COUNTER = """
import os, sys
point, who = sys.argv[1], sys.argv[2]
one = os.open(f"{point}/one{who}", os.O_RDWR | os.O_CREAT)
two = os.open(f"{point}/two{who}", os.O_RDWR | os.O_CREAT)
os.ftruncate(two, 200000)
count = 0
while True:
    count += 1
    os.pwrite(one, count.to_bytes(8, "big"), 0)
    os.pwrite(two, count.to_bytes(8, "big"), 150000)
"""


@contextmanager
def counters(point: Path, number: int = 4) -> Iterator[None]:
    writers = [
        subprocess.Popen([sys.executable, "-c", COUNTER, str(point), str(n)]) for n in range(number)
    ]
    try:
        wait_until(lambda: all((point / f"two{n}").exists() for n in range(number)))
        yield
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def check_counters(point: Path, number: int = 4) -> list[int]:
    found = []
    for n in range(number):
        one = int.from_bytes((point / f"one{n}").read_bytes()[:8])
        with open(point / f"two{n}", "rb") as file:
            file.seek(150_000)
            two = int.from_bytes(file.read(8))
        assert two <= one <= two + 1
        found.append(one)
    return found


def saves_under_load(machine: Machine, count: int) -> None:
    point, other = machine.point("mnt"), machine.point("other")
    machine.mount(machine.root, point)
    with counters(point):
        scores = [machine.save(point) for _ in range(count)]
    before = [0, 0, 0, 0]
    for score in scores:
        machine.mount(score, other, "--ro")
        found = check_counters(other)
        assert all(a <= b for a, b in zip(before, found, strict=True))
        before = found
        machine.run("fossil-umount", other)
    assert min(before) > 0


def test_saves_are_points_in_time(machine: Machine) -> None:
    saves_under_load(machine, 5)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_fifty_saves_are_points_in_time(machine: Machine) -> None:
    saves_under_load(machine, 50)


def du(directory: Path) -> int:
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total


def fill(point: Path, prefix: str) -> dict[str, str]:
    """Write files of many sizes until there is no space; return the digests of the whole ones."""
    rng = random.Random(prefix)
    whole: dict[str, str] = {}
    for n in range(100_000):
        data = rng.randbytes(rng.choice([100, 5000, 60_000, 300_000, 3_000_000]))
        name = f"{prefix}{n}"
        try:
            with open(point / name, "wb") as file:
                file.write(data)
                os.fsync(file.fileno())
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return whole
        whole[name] = hashlib.sha1(data).hexdigest()
    raise AssertionError("never full")


def test_the_cap_is_never_passed_and_nothing_is_lost(machine: Machine) -> None:
    size = 48 << 20
    point = machine.point("mnt")
    machine.mount(machine.root, point, "--size", "48M")
    (scratch,) = machine.scratches()
    highest = 0
    over = threading.Event()

    def sample() -> None:
        nonlocal highest
        while not over.wait(0.05):
            highest = max(highest, du(scratch))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        kept = fill(point, "a")
        for name in list(kept)[::2]:
            os.unlink(point / name)
            del kept[name]
        kept |= fill(point, "b")
        machine.save(point)
        wait_until(lambda: du(scratch) < 4 << 20)
        kept |= fill(point, "c")
        machine.save(point)
    finally:
        over.set()
        sampler.join()
    assert size // 2 < highest <= size
    for name, digest in kept.items():
        assert hashlib.sha1((point / name).read_bytes()).hexdigest() == digest


def test_a_flipped_byte_is_an_error_for_its_file_alone(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    marker = os.urandom(64)
    bad = os.urandom(100_000) + marker + os.urandom(100_000)
    (point / "bad").write_bytes(bad)
    (point / "good").write_bytes(b"good" * 50_000)
    score = machine.save(point)
    machine.run("fossil-umount", point)
    database = machine.store / "data.mdb"
    data = database.read_bytes()
    at = data.index(marker)
    with open(database, "r+b") as file:
        file.seek(at)
        file.write(bytes([marker[0] ^ 1]))
    machine.mount(score, point)
    with pytest.raises(OSError, match="Input/output error"):
        (point / "bad").read_bytes()
    assert (point / "good").read_bytes() == b"good" * 50_000
    assert (point / "bad").stat().st_size == len(bad)
    with open(point / "bad", "rb") as file:
        assert file.read(4096) == bad[:4096]
    (log,) = (machine.home / "run/spawngrid/mounts").glob("*.log")
    lines = [line for line in log.read_text().splitlines() if "vac:" in line]
    assert len(lines) == 1, lines
    (point / "bad").write_bytes(b"mended")
    machine.run("fossil-umount", point, "--save")


def test_real_work(machine: Machine) -> None:
    point, other = machine.point("mnt"), machine.point("other")
    machine.mount(machine.root, point)
    script = f"""
set -e
cd {point}
git init -q -b main origin && cd origin
git config user.email a@b && git config user.name n
for n in 1 2 3 4 5; do echo $n > file$n; git add .; git commit -qm $n; done
cd .. && git clone -q --bare origin bare.git && git clone -q bare.git clone && git -C clone fsck --strict
mkdir build && cd build
for n in 1 2 3; do echo "int f$n(void){{return $n;}}" > f$n.c; done
echo 'int f1(void);int f2(void);int f3(void);int main(void){{return f1()+f2()+f3()-6;}}' > main.c
printf 'prog: main.o f1.o f2.o f3.o\\n\\tcc -o $@ $^\\n' > Makefile
make -s && ./prog
python3 - <<'PY'
import sqlite3
db = sqlite3.connect("db.sqlite")
db.execute("pragma journal_mode=wal")
db.execute("create table t (a, b)")
for n in range(50):
    with db:
        db.execute("insert into t values (?, ?)", (n, "x" * n))
db.close()
PY
"""
    subprocess.run(
        ["bash", "-c", script], check=True, env={**os.environ, "HOME": str(machine.home)}
    )
    score = machine.save(point)
    machine.mount(score, other)
    count = "select count(*) from t"
    check = f"""
set -e
cd {other} && git -C clone fsck --strict && git -C clone status --porcelain && ./build/prog
python3 -c "import sqlite3; db = sqlite3.connect('{other}/build/db.sqlite')
assert db.execute('{count}').fetchone()[0] == 50"
diff -r {point} {other}
"""
    subprocess.run(["bash", "-c", check], check=True, env={**os.environ, "HOME": str(machine.home)})
