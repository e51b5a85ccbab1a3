"""Where scratches lie by default, and which there are."""

import os
from collections.abc import Iterator
from typing import Final

from fossil_fs.scratch.errors import NoSuchScratch, ScratchError
from fossil_fs.scratch.place import Identity, read_identity
from lib9.places import private_directory

RAM: Final = "/dev/shm"  # the tmpfs that every Linux has


def disk_folder(state_directory: str) -> str:
    """Return where scratches on disk are: `$XDG_STATE_HOME/fossil`."""
    return os.path.join(state_directory, "fossil")


def ram_folder() -> str:
    """Return where scratches in memory are; they are gone when the machine stops."""
    return os.path.join(RAM, f"fossil-{os.geteuid()}")


def new_place(folder: str, scratch_id: str) -> bytes:
    """Return the path for a new scratch in one of the folders, which is made for this user alone."""
    return os.fsencode(os.path.join(private_directory(folder), scratch_id))


def scratches(state_directory: str) -> Iterator[tuple[bytes, Identity | ScratchError]]:
    """Give the scratches in both folders, with their identity or what is wrong with it."""
    for folder in (disk_folder(state_directory), ram_folder()):
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            continue
        for name in names:
            if name.startswith("."):
                continue
            path = os.fsencode(os.path.join(folder, name))
            try:
                yield path, read_identity(path)
            except ScratchError as error:
                yield path, error


def find_scratch(state_directory: str, text: str) -> bytes:
    """Return the scratch that an id, its first digits, or a path means; NoSuchScratch."""
    if "/" in text:
        read_identity(os.fsencode(text))
        return os.fsencode(os.path.abspath(text))
    found = [
        path
        for path, _ in scratches(state_directory)
        if os.path.basename(path).startswith(os.fsencode(text))
    ]
    if len(found) != 1:
        why = "no such scratch" if not found else "more than one scratch begins so"
        raise NoSuchScratch(f"{text}: {why} (see fossil-scratch ls)")
    return found[0]
