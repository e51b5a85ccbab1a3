import errno
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.ctl import run_command, status_text
from hubfs.errors import BadCommand, NoSuchHub
from hubfs.hub import Hub
from hubfs.namespace import GROUPS_MAX, Namespace, Node


def names(*hubs: str) -> Namespace:
    space = Namespace(uid=0, gid=0, now_ns=0)
    for name in hubs:
        folder = space.root
        *group, last = name.split("/")
        if group:
            try:
                folder = space.lookup(space.root, group[0].encode())
            except OSError:
                folder = space.make_group(space.root, group[0].encode(), 0o755, 0, 0, 0)
        space.create(folder, last.encode(), 0o644, 0, 0, 0)
    return space


def hub(space: Namespace, name: str) -> Hub:
    found = space.find(name).hub
    assert found is not None
    return found


def test_the_first_three_lines_are_the_originals() -> None:
    text = status_text(names(), "io").decode()
    assert text == (
        "\tHubfs io status (1 is active, 0 is inactive):\n"
        "Paranoid == 0  Frozen == 0  Trunc == 0  Applylimits == 0\n"
        "Buffersize == 777777\n"
    )


def test_a_line_for_each_hub_with_lag_and_loss() -> None:
    space = names("io0", "chat/main")
    space.settings.capacity = 10
    small = names()
    small.settings.capacity = 10
    node = small.create(small.root, b"x", 0o644, 0, 0, 0)
    assert node.hub is not None
    node.hub.attach()
    node.hub.write(b"0123456789")
    node.hub.write(b"abc")
    assert status_text(small, "s").decode().splitlines()[3] == "x: bytes 10 readers 1 lag 10 lost 3"
    assert [line.split(":")[0] for line in status_text(space, "s").decode().splitlines()[3:]] == [
        "io0",
        "chat/main",
    ]


def test_switches_hold_for_all_hubs_or_for_one() -> None:
    space = names("a", "b")
    run_command(space, b"fear\n")
    assert (hub(space, "a").fear, hub(space, "b").fear, space.settings.fear) == (True, True, True)
    run_command(space, b"calm b\nfreeze a")
    assert (hub(space, "a").fear, hub(space, "b").fear, space.settings.fear) == (True, False, True)
    assert (hub(space, "a").frozen, space.settings.frozen) == (True, False)
    made = space.create(space.root, b"c", 0o644, 0, 0, 0)
    assert made.hub is not None
    assert made.hub.fear
    run_command(space, b"trunc")
    assert hub(space, "a").only_new
    run_command(space, b"messages a")
    assert (hub(space, "a").messages, hub(space, "b").messages) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        b"fearless",
        b"Fear",
        b"fear a b",
        b"bogus",
        b"quit now",
        b"messages",
        b"limit a",
        b"limit a x",
        b"limit a 0",
        b"\xff",
    ],
)
def test_an_unknown_command_changes_nothing(text: bytes) -> None:
    space = names("a")
    before = status_text(space, "s")
    with pytest.raises(BadCommand):
        run_command(space, b"fear\n" + text)
    *same, refused = status_text(space, "s").decode().splitlines(keepends=True)
    assert "".join(same).encode() == before
    assert refused.startswith("last command refused: ")
    run_command(space, b"calm")
    assert status_text(space, "s") == before


def test_what_was_refused_is_shown_in_characters_that_do_nothing_to_a_terminal() -> None:
    space = names()
    with pytest.raises(NoSuchHub):
        run_command(space, b"eof \x1b[2Jx" + b"y" * 1000)
    *_, refused = status_text(space, "s").decode().splitlines()
    assert refused.startswith("last command refused: ?[2Jxyyy")
    assert len(refused) < 250


def test_a_hub_that_is_not_there() -> None:
    space = names("a")
    with pytest.raises(NoSuchHub):
        run_command(space, b"freeze\neof nosuch")
    assert not hub(space, "a").frozen


def test_a_hub_whose_name_begins_with_ctl_is_a_hub() -> None:
    # in the original every such name was a second control file
    space = names("ctlfoo")
    assert hub(space, "ctlfoo").write(b"quit\n") == 5


def test_eof_finds_the_last_hub_after_one_was_removed() -> None:
    # the original lost the hub made after the newest one was removed
    space = names("a", "b")
    space.remove(space.root, b"b", 0)
    node = space.create(space.root, b"c", 0o644, 0, 0, 0)
    assert node.hub is not None
    reader = node.hub.attach()
    reader.waiting = True
    assert run_command(space, b"eof c \n").ended == [reader]
    assert run_command(space, b"eof").ended == [reader]


def test_limits_of_one_hub() -> None:
    space = names("a")
    run_command(space, b"limit a 1k 5ms 10s")
    limiter = space.find("a").limiter
    assert limiter is not None
    assert (limiter.bytes_per_second, limiter.gap_ns, limiter.reset_seconds) == (
        1024,
        5_000_000,
        10.0,
    )
    run_command(space, b"limit a none")
    assert space.find("a").limiter is None


def test_quit() -> None:
    assert run_command(names(), b"quit\n").quit


@given(st.binary(max_size=200))
def test_no_bytes_end_the_daemon(text: bytes) -> None:
    with suppress(BadCommand, NoSuchHub):
        run_command(names("a"), text)


def _raises(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, match=re.escape(f"[Errno {number}]"))


def test_names() -> None:
    space = names("a", "g/x")
    group = space.lookup(space.root, b"g")
    for call, number in [
        (lambda: space.create(space.root, b"a", 0o644, 0, 0, 0), errno.EEXIST),
        (lambda: space.create(space.root, b"ctl", 0o644, 0, 0, 0), errno.EEXIST),
        (lambda: space.create(space.root, b"n" * 256, 0o644, 0, 0, 0), errno.ENAMETOOLONG),
        (lambda: space.create(space.root, b"a\nb", 0o644, 0, 0, 0), errno.EINVAL),
        (lambda: space.create(space.root, b"a b", 0o644, 0, 0, 0), errno.EINVAL),
        (lambda: space.create(space.root, b"a\x1b[2J", 0o644, 0, 0, 0), errno.EINVAL),
        (lambda: space.create(space.root, "a\u2028b".encode(), 0o644, 0, 0, 0), errno.EINVAL),
        (lambda: space.create(space.root, b"\xff", 0o644, 0, 0, 0), errno.EINVAL),
        (lambda: space.rename(space.root, b"a", group, b"a b", 0), errno.EINVAL),
        (lambda: space.remove(space.root, b"ctl", 0), errno.EPERM),
        (lambda: space.remove(space.root, b"nosuch", 0), errno.ENOENT),
        (lambda: space.remove(space.root, b"g", 0), errno.EISDIR),
        (lambda: space.remove_group(space.root, b"g", 0), errno.ENOTEMPTY),
        (lambda: space.remove_group(space.root, b"a", 0), errno.ENOTDIR),
        (lambda: space.make_group(group, b"deeper", 0o755, 0, 0, 0), errno.EPERM),
        (lambda: space.rename(space.root, b"ctl", space.root, b"x", 0), errno.EPERM),
        (lambda: space.rename(space.root, b"a", space.root, b"ctl", 0), errno.EPERM),
        (lambda: space.rename(space.root, b"a", group, b"x", 0, replace=False), errno.EEXIST),
    ]:
        with _raises(number):
            call()
    replaced = space.find("g/x").hub
    space.rename(space.root, b"a", group, b"x", 5)
    assert replaced is not None
    assert replaced.closed
    assert [node.path() for node in space.hubs()] == ["g/x"]
    space.remove(group, b"x", 6)
    gone: Node = space.remove_group(space.root, b"g", 7)
    with _raises(errno.ENOENT):
        space.create(gone, b"late", 0o644, 0, 0, 0)


def test_the_number_of_hubs_is_bounded() -> None:
    space = Namespace(uid=0, gid=0, now_ns=0, hubs_max=3)
    for n in range(3):
        space.create(space.root, b"%d" % n, 0o644, 0, 0, 0)
    with _raises(errno.ENOSPC):
        space.create(space.root, b"x", 0o644, 0, 0, 0)
    space.remove(space.root, b"1", 0)
    space.create(space.root, b"x", 0o644, 0, 0, 0)
    for n in range(GROUPS_MAX):
        space.make_group(space.root, b"g%d" % n, 0o755, 0, 0, 0)
    with _raises(errno.ENOSPC):
        space.make_group(space.root, b"g", 0o755, 0, 0, 0)
    space.remove_group(space.root, b"g7", 0)
    space.make_group(space.root, b"g", 0o755, 0, 0, 0)


def test_a_hub_is_found_by_the_name_that_people_use() -> None:
    space = names("a", "g/x", "g/größe")
    assert [space.find(path).path() for path in ("a", "g/x", "g/größe")] == ["a", "g/x", "g/größe"]
    for path in ("", "g", "ctl", "x", "g/", "/a", "a/x", "g/x/y"):
        with pytest.raises(NoSuchHub):
            space.find(path)
