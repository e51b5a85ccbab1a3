"""Where scratches lie by default, and which there are."""

import os
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from fossil_fs.scratch.errors import NoSuchScratch, ScratchError
from fossil_fs.scratch.place import Identity, read_identity
from lib9.places import private_directory, run_directory, state_directory

RAM: Final = "/dev/shm"  # the tmpfs that every Linux has


def disk_folder(environ: Mapping[str, str]) -> str:
    """Return where scratches on disk are: `$XDG_STATE_HOME/fossil`."""
    return os.path.join(state_directory(environ), "fossil")


def ram_folder(environ: Mapping[str, str]) -> str:
    """Return where scratches in memory are; they are gone when the machine stops.

    Each run directory has one of its own, as it has its own running mounts.
    """
    key = zlib.crc32(os.fsencode(run_directory(environ)))
    return os.path.join(RAM, f"fossil-{os.geteuid()}-{key:08x}")


def new_place(folder: str, scratch_id: str) -> bytes:
    """Return the path for a new scratch in one of the folders, which is made for this user alone."""
    return os.fsencode(os.path.join(private_directory(folder), scratch_id))


def scratches(environ: Mapping[str, str]) -> Iterator[tuple[bytes, Identity | ScratchError]]:
    """Give the scratches in both folders, with their identity or what is wrong with it."""
    for folder in (disk_folder(environ), ram_folder(environ)):
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


def find_scratch(environ: Mapping[str, str], text: str) -> bytes:
    """Return the scratch that an id, its first digits, or a path means; NoSuchScratch."""
    if "/" in text:
        read_identity(os.fsencode(text))
        return os.fsencode(os.path.abspath(text))
    found = [
        path
        for path, _ in scratches(environ)
        if os.path.basename(path).startswith(os.fsencode(text))
    ]
    if len(found) != 1:
        why = "no such scratch" if not found else "more than one scratch begins so"
        raise NoSuchScratch(f"{text}: {why} (see fossil-scratch ls)")
    return found[0]
