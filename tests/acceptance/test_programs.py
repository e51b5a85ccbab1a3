"""Programs that people use every day work in a mount, and what they made is in the saved root."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import mounted, output, vac

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    empty = tmp_path / "empty"
    empty.mkdir()
    with mounted(vac(empty), tmp_path / "mnt") as path:
        yield path


def _shell(script: str, cwd: Path) -> str:
    done = subprocess.run(
        ["sh", "-euc", script], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_git(mnt: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    work = tmp_path / "work"
    _shell(
        f"git init -q --bare {origin}; git clone -q {origin} {work} 2>&1; cd {work};"
        "git config user.email a@b; git config user.name n;"
        "mkdir -p a/b; for i in $(seq 300); do echo $i > a/b/f$i; done; git add .; git commit -qm one;"
        "git mv a/b a/c; git commit -qm two; git push -q origin HEAD",
        tmp_path,
    )
    _shell(
        f"git clone -q {origin} clone; cd clone; git fsck --strict; git gc -q; git status --porcelain;"
        "echo change >> a/c/f1; git -c user.email=a@b -c user.name=n commit -qam three; git log --oneline",
        mnt,
    )
    with mounted(output("fossil-save", mnt), tmp_path / "again") as again:
        text = _shell(
            f"cd {again}/clone; git fsck --strict; git status --porcelain; git log --oneline | wc -l",
            tmp_path,
        )
        assert text.split() == ["3"]


def test_make_builds_c_sources(mnt: Path, tmp_path: Path) -> None:
    (mnt / "Makefile").write_text(
        "all: hello\nhello: hello.o part.o\n\t$(CC) -o $@ $^\nclean:\n\trm -f hello *.o\n"
    )
    (mnt / "hello.c").write_text(
        'int part(void);\n#include <stdio.h>\nint main(void) { printf("%d\\n", part()); return 0; }\n'
    )
    (mnt / "part.c").write_text("int part(void) { return 42; }\n")
    assert _shell("make -s && ./hello && make -s clean && make -s && ./hello", mnt).split() == [
        "42",
        "42",
    ]
    with mounted(output("fossil-save", mnt), tmp_path / "again") as again:
        assert _shell("./hello; make -q", again).split() == ["42"]


def test_a_virtual_environment_with_a_local_wheel(mnt: Path, tmp_path: Path) -> None:
    wheel = _make_wheel(tmp_path)
    pip = "venv/bin/pip install -q --no-index --disable-pip-version-check"
    _shell(f"{sys.executable} -m venv venv && {pip} {wheel}", mnt)
    assert _shell("venv/bin/python -c 'import tiny; print(tiny.answer)'", mnt).strip() == "42"
    score = output("fossil-save", mnt)
    with mounted(score, tmp_path / "again") as again:
        path = "PYTHONPATH=$(echo venv/lib/python*/site-packages)"
        assert _shell(f"{path} python3 -c 'import tiny; print(tiny.answer)'", again).strip() == "42"


def _make_wheel(folder: Path) -> Path:
    import zipfile

    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "answer = 42\n")
        archive.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(
            "tiny-1.0.dist-info/RECORD",
            "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n",
        )
    return path


def test_sqlite_in_wal_mode(mnt: Path, tmp_path: Path) -> None:
    with sqlite3.connect(mnt / "base.db") as base:
        assert base.execute("pragma journal_mode=wal").fetchone() == ("wal",)
        base.execute("create table t (n integer primary key, text)")
        for start in range(0, 5000, 100):
            with base:
                base.executemany(
                    "insert into t values (?, ?)",
                    [(n, "x" * (n % 97)) for n in range(start, start + 100)],
                )
        score = output("fossil-save", mnt)  # while the connection is open and the log not folded in
        base.execute("delete from t")
    base.close()
    with mounted(score, tmp_path / "again") as again:
        copy = sqlite3.connect(again / "base.db")
        assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
        assert copy.execute("select count(*), sum(length(text)) from t").fetchone() == (
            5000,
            sum(n % 97 for n in range(5000)),
        )
        copy.close()
