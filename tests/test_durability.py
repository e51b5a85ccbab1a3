"""Every line of docs/explanation/durability.md, and the tests that hold it."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs/explanation/durability.md").read_text()

# how a row of the table, or a paragraph, begins; and its tests
LINES = {
    "| `vac`, `fossil-save`, `venti write` printed a score": [
        "venti_store/test_power_cut.py::test_a_power_cut_leaves_a_whole_store",
        "venti_store/test_lmdb_writer.py::test_kill_9_of_four_writing_processes",
        "fossil_fs/test_kills.py::test_a_kill_at_every_named_point",
    ],
    "| one of them was interrupted": [
        "fossil_fs/test_vac_store.py::test_four_archivers_on_one_store_and_one_of_them_killed",
        "fossil_fs/test_save.py::test_a_kill_at_every_point_of_every_step",
    ],
    "| a program in a mount wrote, renamed, deleted": [
        "fossil_fs/test_kills.py::test_a_kill_at_every_named_point",
        "fossil_fs/test_power_cut.py::test_a_power_cut_leaves_a_scratch_with_all_that_was_synced",
    ],
    "| it called `fsync` and that returned": [
        "fossil_fs/cli/test_mount_acceptance.py::test_fsynced_bytes_survive_kills",
        "fossil_fs/test_power_cut.py::test_a_power_cut_leaves_a_scratch_with_all_that_was_synced",
        "fossil_fs/cli/test_mount_commands.py::test_read_only_and_ram",
    ],
    "| it called `sync` or `syncfs`": [
        "fossil_fs/cli/test_mount_commands.py::test_mmap_append_truncate_and_sparse",
    ],
    "| `snap` answered": [
        "fossil_fs/cli/test_snapshots_mounted.py::test_snapshots_outlive_a_save_an_unmount_and_a_kill",
        "fossil_fs/test_kills.py::test_a_kill_at_every_named_point",
        "fossil_fs/test_power_cut.py::test_a_power_cut_leaves_a_scratch_with_all_that_was_synced",
    ],
    "| `snap -a` printed a score": [
        "fossil_fs/cli/test_snapshots_mounted.py::test_archival_snapshots",
    ],
    "| `snapclean` answered": [
        "fossil_fs/test_snapshots.py::test_a_kill_at_any_step_leaves_every_snapshot_as_it_was",
    ],
    "| a record was appended to an ndb file": [
        "ndbdb/test_append.py::test_killed_after_any_byte",
    ],
    "| `fossil-umount` returned": [
        "fossil_fs/cli/test_mount_commands.py::test_umount_refuses_to_lose_work",
        "fossil_fs/cli/test_mount_commands.py::test_whatever_ends_a_mount_its_scratch_can_be_resumed",
    ],
    "Blocks are appended to the log in groups": [
        "venti_store/test_power_cut.py::test_a_power_cut_leaves_a_whole_store",
    ],
    "A block that is already in the index": [
        "venti_store/test_lmdb_damage.py::test_a_read_that_finds_rot_makes_the_next_put_store_again",
    ],
    "What a mount changed and did not save": [
        "fossil_fs/test_scratch.py::test_a_kill_at_any_point_loses_nothing_acknowledged",
        "fossil_fs/test_power_cut.py::test_a_power_cut_leaves_a_scratch_with_all_that_was_synced",
    ],
    "Nothing removes a scratch but": [
        "fossil_fs/cli/test_mount_commands.py::test_whatever_ends_a_mount_its_scratch_can_be_resumed",
        "fossil_fs/test_save.py::test_a_full_disk_loses_nothing_that_was_acknowledged",
    ],
    "Snapshots lie in the scratch": [
        "fossil_fs/test_snapshots.py::test_a_kill_at_any_step_leaves_every_snapshot_as_it_was",
    ],
    "A scratch whose identity or journal header is torn": [
        "fossil_fs/test_scratch.py::test_what_is_no_scratch_is_refused",
        "fossil_fs/test_scratch.py::test_a_torn_or_foreign_scratch_is_refused_with_one_line",
    ],
    "A save contains every write that had returned": [
        "fossil_fs/cli/test_mount_acceptance.py::test_saves_are_points_in_time",
        "fossil_fs/cli/test_writeback.py::test_a_save_has_every_write_that_returned",
        "fossil_fs/test_save.py::test_each_save_is_a_point_in_time",
    ],
}


def lines() -> list[str]:
    """Return the rows and paragraphs that promise something."""
    promises = PAGE.split("## What is not promised")[0]
    rows = [row for row in promises.splitlines() if row.startswith("| ")][1:]
    paragraphs = [
        part.strip()
        for part in re.split(r"\n\s*\n", promises)
        if part.strip() and not part.strip().startswith(("|", "#"))
    ]
    return [*rows, *paragraphs[1:]]  # the first says what the words mean


@pytest.mark.parametrize("line", lines(), ids=lambda line: line[:40])
def test_every_line_has_a_test(line: str) -> None:
    tests = [test for begin, names in LINES.items() if line.startswith(begin) for test in names]
    assert tests, line
    for test in tests:
        path, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (HERE / path).read_text(), re.MULTILINE), test


def test_no_test_is_for_a_line_that_is_gone() -> None:
    for begin in LINES:
        assert any(line.startswith(begin) for line in lines()), begin
