"""What the pages tell people to type is typed, line by line, and does what they say.

A line ends with status 0, unless a comment on it names another (`# refuses with status 9`) or the stage
of the page does. What a console block shows after a line is shown, but for numbers, scores and `…`.
"""

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.blocks import TOP, Command, blocks
from tests.kit.mounts import take_down

SAMPLE = """\
mkdir -p "$HOME/sample" "$HOME/project/src" "$HOME/etc" "$HOME/home/glenda/lib" "$HOME/src" "$HOME/tmp"
mkdir -p "$HOME/srv" "$HOME/mnt/usr" "$HOME/mnt/before" "$HOME/mnt/then" "$HOME/backup"
echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/' > "$HOME/sample/copyright"
head -c 99999 /dev/urandom > "$HOME/sample/CHANGES.gz"; cp "$HOME/sample/CHANGES.gz" "$HOME/sample/COMPAT.gz"
echo 'int main;' > "$HOME/project/src/main.c"; echo old > "$HOME/project/note"; echo x > "$HOME/src/x"
echo / > "$HOME/etc/fstab"; echo y > "$HOME/home/glenda/lib/y"; cd "$HOME"
"""
ROOTS = f"{SAMPLE}root=$(vac -q -a mytree project)\n"
NOW = "at() { fossil-con work snap | sed 's,^snapshot/,,'; }\n"


@dataclass(frozen=True, slots=True)
class Stage:
    """What a page takes for granted, what its placeholders mean here, and what it goes on from.

    `first` is run before a line, by how the line begins; `status` is a line's, in the same way.
    """

    before: str = SAMPLE
    means: Mapping[str, str] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, int] = field(default_factory=dict)
    leaves_out: tuple[str, ...] = ()
    after: str = ""
    text_file: str = ""  # this file holds the page's first text block


SCORE = r"vac:[0-9a-f]+(…|\.\.\.)"
STAGES: dict[str, Stage] = {
    "README.md": Stage(
        before=f"{SAMPLE}echo 'all: ; echo > made' > project/Makefile\n"
        "root=$(vac -q project); mkdir mnt/try\n",
        means={SCORE: "$root"},
        leaves_out=("command -v make", ". .venv"),
    ),
    "docs/tutorial/first-score.md": Stage(
        means={"/usr/share/doc/bash": "$HOME/sample"}, status={"diff -r": 1}
    ),
    "docs/tutorial/hubs.md": Stage(
        leaves_out=(
            "hub ",
            "hub\n",
            "hubfs --listen",
            "hubfs -r",
            "cat /tmp/there",
            "echo 'user",
            "echo 'sys",
        ),
        after="echo eof log > tmp/hubs/ctl; wait; echo quit > tmp/hubs/ctl",
    ),
    "docs/how-to/keep-an-ndb-file.md": Stage(text_file="net"),
    "docs/how-to/archive.md": Stage(),
    "docs/how-to/restore.md": Stage(
        before=f"{SAMPLE}vac -q -a project etc home\n",
    ),
    "docs/how-to/scrub-a-store.md": Stage(
        before=f'{SAMPLE}vac -q project; cp -a .local/share/venti "$HOME/srv/venti"\n',
        means={"'noise!backup!27034'": "$HOME/.local/share/venti"},
    ),
    "docs/how-to/back-up-a-store.md": Stage(
        before=f"{SAMPLE}grid key new; vac -q -a project project\n"
        "mkdir -p .local/share/spawngrid .local/state/fossil\n",
        first={"ventiprog -f ~/backup.info": "echo new > project/note; vac -q -a project project"},
    ),
    "docs/how-to/copy-trees.md": Stage(
        before=f'{SAMPLE}root=$(vac -q project); cp -a .local/share/venti "$HOME/srv/venti"\n'
        "venti init other\n",
        means={"'tcp!localhost!17034'": "$HOME/other", SCORE: "$root"},
    ),
    "docs/how-to/mounts.md": Stage(
        before=f"{ROOTS}cp -r project work.was\n"
        "id() { fossil-scratch ls | awk '/not mounted/ {print $1; exit}'; }\n",
        means={SCORE: "$root", r"\bID\b": "$(id)"},
        first={
            "fossil-umount work  ": "echo x > work/x",
            "fossil-umount work --discard": "fossil-mount $root work; echo x > work/x",
            "fossil-scratch ls": "fossil-mount $root work; echo x > work/x; umount work",
            "fossil-scratch save": "umount work",
            "fossil-scratch rm": "fossil-mount $root work; echo x > work/x; umount work",
            "fossil-con work status         # what": "fossil-mount mytree work",
            "fossil-con work status         # the": "echo x > work/x",
        },
    ),
    "docs/how-to/yesterday.md": Stage(
        before=f"{ROOTS}{NOW}mkdir work; echo 1 > project/report.txt; fossil-mount $(vac -q project) work\n"
        "s=$(at); day=${s%/*} time=${s##*/}\n",
        means={r"2026/1126/1000": "$day/$time", r"2026/1126": "$day", r"\bwork\b": "$HOME/work"},
    ),
    "docs/how-to/names.md": Stage(
        before=f"{SAMPLE}root=$(vac -q project)\n",
        means={
            SCORE: "$root",
            "2026-01-31": "$(date -u +%F)",
            r"usr\.193c": "$(grid names log usr | sed 's/ .*//;1q')",
        },
        first={"grid names import": "grid key new"},
        status={"grid names why -u rob": 4},
        leaves_out=("scorecopy", "grid names import /n/"),
    ),
}


@pytest.fixture
def place(home: Path) -> Iterator[Path]:
    yield home
    for line in Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
        if (point := line.split()[4]).startswith(f"{home}/"):
            take_down(Path(point))


def script(page: str, stage: Stage) -> tuple[str, list[Command]]:
    """Return a script that types a page's commands, with a mark and the status after each."""
    lines, typed = ["exec 2>&1", stage.before], []
    for block in blocks(TOP / page):
        for command in block.commands():
            if block.language == "text" or f"{command.line}\n".startswith(stage.leaves_out):
                continue
            text = re.sub(
                r"(?<![\w.$~])/(tmp|srv|mnt|backup|etc|home)\b", r"$HOME/\1", command.line
            )
            for pattern, value in stage.means.items():
                text = re.sub(pattern, lambda _, value=value: value, text)
            lines += [
                first for start, first in stage.first.items() if command.line.startswith(start)
            ]
            lines += [f"echo '@@@ {len(typed)}'", text, f"echo '@@= {len(typed)}' $?"]
            typed.append(command)
    return "\n".join([*lines, stage.after]) + "\n", typed


def environ() -> dict[str, str]:
    """Return the variables of somebody who has set none but HOME."""
    rest = {
        k: v for k, v in os.environ.items() if k == "XDG_RUNTIME_DIR" or not k.startswith("XDG_")
    }
    return rest | {"PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"}


def expected(command: Command, stage: Stage) -> int:
    named = re.search(r"# .*status (\d+)", command.line)
    if named:
        return int(named[1])
    return next((n for start, n in stage.status.items() if command.line.startswith(start)), 0)


def as_pattern(line: str) -> str:
    """Return a pattern for a line as a page shows it: other numbers, scores and homes will do."""
    others = r"(vac:[0-9a-f]+…?)|(\d+(?:\.\d+)?)|(…|/home/glenda|(?<!\w)/tmp)|(\s+)"
    kinds = ("vac:[0-9a-f]+", r"[\d.]+", ".*", r"\s+")
    return "".join(
        kinds[at % 5 - 1] if at % 5 else re.escape(text)
        for at, text in enumerate(re.split(others, line.strip()))
        if text is not None
    )


@pytest.mark.fuse
@pytest.mark.parametrize("page", STAGES)
def test_a_page_does_what_it_says(page: str, place: Path) -> None:
    stage = STAGES[page]
    text, typed = script(page, stage)
    if stage.text_file:
        shown = next(block for block in blocks(TOP / page) if block.language == "text")
        (place / stage.text_file).write_text("\n".join(shown.lines) + "\n")
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False,
        timeout=100, env=environ(),
    )  # fmt: skip
    wrong = []
    for number, command in enumerate(typed):
        since = done.stdout.partition(f"@@@ {number}\n")[2]
        shown, end, rest = since.partition(f"@@= {number} ")
        status = rest.split("\n", 1)[0] if end else "none"
        pattern = ".*".join(as_pattern(line) for line in command.shows)
        told = since if "&\n" in text else shown  # what runs in the background tells when it likes
        if status != str(expected(command, stage)) or not re.search(pattern, told, re.DOTALL):
            wrong.append(f"$ {command.line}\n{shown}status {status}")
    assert typed
    assert not wrong, f"{page}\n" + "\n".join(wrong)
