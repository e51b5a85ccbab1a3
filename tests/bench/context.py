"""What benches measure with: races of several contestants, scratch space, caches, peers."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

Contestant = Callable[[], float | None]


class Context:
    """Given to every bench. `quick` asks for small sizes; `runs` is how often each is measured."""

    def __init__(self, *, runs: int = 5, quick: bool = False, scratch: str | None = None) -> None:
        self.runs = runs
        self.quick = quick
        self._scratch = scratch

    def size(self, whole: int, quick: int) -> int:
        """Return the size to measure with."""
        return quick if self.quick else whole

    def race(
        self,
        contestants: Mapping[str, Contestant],
        *,
        prepare: Callable[[str], None] | None = None,
        runs: int | None = None,
    ) -> dict[str, list[float]]:
        """Run all contestants in turn, `runs` times, each time another one first.

        The value is what a contestant returns, or else the seconds it took. `prepare(name)` comes
        before each run and is not measured.
        """
        names = list(contestants)
        values: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(runs or self.runs):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                if prepare is not None:
                    prepare(name)
                began = time.perf_counter()
                value = contestants[name]()
                seconds = time.perf_counter() - began
                values[name].append(seconds if value is None else value)
                self.say(f"  {name}: {values[name][-1]:.4g}")
        return values

    def microseconds(self, function: Callable[[], object], calls: int) -> Contestant:
        """Return a contestant whose value is the microseconds that one call takes, of `calls`."""

        def measure() -> float:
            began = time.perf_counter()
            for _ in range(calls):
                function()
            return (time.perf_counter() - began) / calls * 1e6

        return measure

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory of one's own on disk; gone after."""
        path = tempfile.mkdtemp(prefix="bench-", dir=self._scratch)
        try:
            yield Path(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def evict(self, *paths: Path) -> None:
        """Write files (or whole directories) out and drop their pages, without being root."""
        for path in paths:
            for file in [path] if path.is_file() else path.rglob("*"):
                if file.is_symlink() or not file.is_file():
                    continue
                descriptor = os.open(file, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)

    def peer(self, program: str, *version: str) -> str | None:
        """Return `program` and its version, as `peer` of a row; None where it is not installed."""
        if shutil.which(program) is None:
            return None
        command = [program, *(version or ("--version",))]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        words = (said.stdout or said.stderr).split()
        found = next((word for word in words if word[0].isdigit()), "")
        return f"{program} {found}".strip()

    def command(self, *words: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """Run a program and return its stdout; CalledProcessError, with stderr shown, if it fails."""
        done = subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
        if done.returncode:
            self.say(done.stderr)
            done.check_returncode()
        return done.stdout

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that do not compress, the same every time."""
    rng = random.Random(seed)
    return b"".join(rng.randbytes(min(size - at, 16 << 20)) for at in range(0, size, 16 << 20))


def words(count: int, seed: int = 0) -> Sequence[bytes]:
    """Return `count` small file contents: text that compresses as text does, 3 KB on average."""
    rng = random.Random(seed)
    stock = [bytes(rng.choices(b"etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(2000)]
    lengths = (int(rng.lognormvariate(6.8, 1.1)) for _ in range(count))
    return [b"%d " % n + b" ".join(rng.choices(stock, k=k // 6 + 1)) for n, k in enumerate(lengths)]
