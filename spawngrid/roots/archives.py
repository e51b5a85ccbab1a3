"""Tar archives: GNU tar knows holes, links, devices, ACLs and attributes, and unpacks nothing outside.

A name that ends in .gz, .xz, .zst and the like is compressed; `-` is a plain stream.
"""

import os
import sys

from spawngrid.roots.programs import need, run

_ALL = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"]
_ENDINGS = (".tar", ".tgz", ".txz", ".tzst")


def is_archive(path: str) -> bool:
    """Tell whether a path names an archive and not a directory."""
    name = os.path.basename(path)
    return path == "-" or name.endswith(_ENDINGS) or ".tar." in name


def unpack(archive: str, directory: str) -> None:
    """Unpack an archive, owners and all, into an empty directory; ProgramFailed."""
    tar = need("tar", "tar")
    whole = [tar, "--extract", "--same-permissions", *_ALL, "--directory", directory]
    run([*whole, "--file", archive], stdin=sys.stdin.buffer if archive == "-" else None)


def pack(directory: str, archive: str) -> None:
    """Pack what is in a directory, on this file system only; an archive is there whole or not at all."""
    tar = need("tar", "tar")
    whole = [tar, "--create", "--sparse", "--one-file-system", *_ALL, "--directory", directory]
    if archive == "-":
        run([*whole, "--file", "-", "."], stdout=sys.stdout.buffer)
        return
    draft = _beside(archive)
    try:
        run([*whole, "--auto-compress", "--file", draft, "."])
        os.replace(draft, archive)
    finally:
        if os.path.exists(draft):
            os.unlink(draft)


def _beside(archive: str) -> str:
    """Return a name for the draft with the same ending: tar compresses by it."""
    folder, name = os.path.split(os.path.abspath(archive))
    return os.path.join(folder, f".{os.getpid()}.{name}")
