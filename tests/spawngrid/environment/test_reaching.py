"""Places to mount on, in roots whose links lead anywhere."""

import os
from pathlib import Path

import pytest

from spawngrid.environment.runtimes.reaching import reach_directory, reach_file


def reached(root: Path, path: str, *, directory: bool = False) -> Path:
    """Return what was reached, as a path from the root."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        found = (reach_directory if directory else reach_file)(top, path)
        try:
            place = Path(os.readlink(f"/proc/self/fd/{found}"))
        finally:
            os.close(found)
    finally:
        os.close(top)
    return Path("/") / place.relative_to(root)


def test_what_is_there_is_found_and_what_is_not_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text("x")
    assert reached(tmp_path, "/etc/hosts") == Path("/etc/hosts")
    assert reached(tmp_path, "/dev/pts", directory=True) == Path("/dev/pts")
    assert reached(tmp_path, "/a/b/c") == Path("/a/b/c")
    assert (tmp_path / "a/b/c").read_bytes() == b""


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("../run/resolve/stub", "/run/resolve/stub"),
        ("/run/resolve/stub", "/run/resolve/stub"),
        ("/../../../../outside", "/outside"),
        ("../../../../outside", "/outside"),
        ("other/./name", "/etc/other/name"),
    ],
)
def test_a_link_leads_to_a_place_below_the_root(tmp_path: Path, target: str, where: str) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").symlink_to(target)
    assert reached(root, "/etc/resolv.conf") == Path(where), "nothing was there"
    assert reached(root, "/etc/resolv.conf") == Path(where), "now there is"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root"]


def test_links_through_links(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/one").symlink_to("/two/name")
    (tmp_path / "two").symlink_to("three")
    (tmp_path / "three").mkdir()
    assert reached(tmp_path, "/etc/one") == Path("/three/name")


def test_links_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="links"):
        reached(tmp_path, "/a")


def test_a_directory_is_never_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "dev").symlink_to("there")
    for path in ("/dev", "/dev/pts"):
        with pytest.raises(OSError, match="links"):
            reached(tmp_path, path, directory=True)
    assert list((tmp_path / "there").iterdir()) == []


def test_links_of_the_kernel_are_not_followed(tmp_path: Path) -> None:
    """A link to a link below /proc leads to what a process has open, wherever that is."""
    (tmp_path / "proc").mkdir()
    top = os.open("/", os.O_PATH | os.O_DIRECTORY)
    link = tmp_path / "escape"
    link.symlink_to(f"/proc/self/fd/{top}/etc/passwd")
    try:
        with pytest.raises(OSError, match="links"):
            reach_file(top, str(link))
    finally:
        os.close(top)
