"""The console's page says what the tables in the code say, and the client knows the daemon's words."""

import errno
import re
from pathlib import Path

from fossil_fs.mounting import checking, control, halting, service, word
from fossil_fs.mounting.console import ANSWER_SECONDS_MAX, QUICK_WORDS, SYNCED_WORDS
from fossil_fs.mounting.table import WORDS
from fossil_fs.overlay import check as overlay_check
from fossil_fs.scratch import check as scratch_check
from lib9.errors import Exit
from lib9.fuse.options import MountOptions

PAGE = (Path(__file__).parents[2] / "docs/reference/console.md").read_text()


def test_every_word_is_in_the_table_as_help_says_it() -> None:
    rows = [f"| `{f'{w.name} {w.arguments}'.strip()}` | {w.help} |" for w in WORDS if not w.hidden]
    assert "\n".join(rows) in PAGE


def test_words_have_one_name_each() -> None:
    assert len({w.name for w in WORDS}) == len(WORDS)


def test_the_client_knows_these_words() -> None:
    names = {w.name for w in WORDS}
    assert names >= QUICK_WORDS
    assert SYNCED_WORDS - {"snap"} <= names


def test_every_invariant_is_in_the_table() -> None:
    rows = [
        row.split("|")[1:3]
        for module in (scratch_check, overlay_check)
        for row in (module.__doc__ or "").splitlines()
        if row.startswith("| ") and "invariant" not in row and "(of the scratch)" not in row
    ]
    told = dict(re.findall(r"^\| `([a-z]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert len(rows) == 15
    for name, meaning in rows:
        assert told[name.strip()] == meaning.strip()


def test_errnos() -> None:
    for exit_status, number in control.ERRNO.items():
        assert re.search(rf"\| {int(exit_status)} \(.*\) \| `{errno.errorcode[number]}` \|", PAGE)
    assert control.ERRNO[Exit.USAGE]


def test_limits() -> None:
    assert f"{halting.HALT_SECONDS:.0f} s, at most {halting.HALT_SECONDS_MAX:.0f}" in PAGE
    assert f"at most {checking.FINDINGS_MAX} are shown" in PAGE
    assert f"more than {control.COMMANDS_MAX} bytes" in PAGE
    assert f"at most {word.LINE_MAX}\nbytes; {service.CONNECTIONS_MAX} connections" in PAGE
    assert f"within {ANSWER_SECONDS_MAX:.0f} s" in PAGE
    assert f"At most {MountOptions('', '').max_tasks} changes wait" in PAGE
