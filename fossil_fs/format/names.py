"""Which names a directory may hold."""

from typing import Final

from venti_store.errors import BadTree

NAME_MAX: Final = 255  # bytes, the kernel's limit


def check_name(name: bytes) -> bytes:
    """Return `name` if the kernel could use it as a file's name; else BadTree."""
    if not 0 < len(name) <= NAME_MAX:
        raise BadTree(f"name of {len(name)} bytes: {show_name(name[:40])}")
    if b"/" in name or b"\0" in name or name in (b".", b".."):
        raise BadTree(f"not a file's name: {show_name(name)}")
    return name


def show_name(name: bytes) -> str:
    """Return `name` as text for people: bytes that are not UTF-8 are escaped."""
    return name.decode("utf-8", "backslashreplace")
