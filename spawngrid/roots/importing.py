"""A directory, a tar archive or a new Debian system becomes a stored root."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from spawngrid.roots.archives import is_archive, unpack
from spawngrid.roots.fitting import make_root
from spawngrid.roots.programs import need, ours, output, run
from venti_store.open import open_store


def import_root(source: str, store: str, run_directory: str, staging: str) -> str:
    """Store a directory or a tar archive (`-`: from stdin) and return the root's score.

    `staging`: a directory with room for what is in the archive. UnfitRoot, ProgramFailed, and what
    opening the store raises, before anything is unpacked.
    """
    if not is_archive(source):
        return _store(source, store, run_directory)
    check_store(store)
    with _staged(staging) as directory:
        unpack(source, directory)
        return _store(directory, store, run_directory)


def import_debian(
    suite: str,
    store: str,
    run_directory: str,
    staging: str,
    *,
    mirror: str = "",
    include: Sequence[str] = (),
) -> str:
    """Make a minimal Debian system by debootstrap(8), store it and return its score.

    ProgramMissing, ProgramFailed, and what opening the store raises, before anything is made.
    """
    program = need("debootstrap", "debootstrap")
    check_store(store)
    options = ["--variant=minbase"] + ([f"--include={','.join(include)}"] if include else [])
    with _staged(staging) as directory:
        run([program, *options, suite, directory, *([mirror] if mirror else [])])
        return _store(directory, store, run_directory)


def check_store(store: str) -> None:
    """Make sure that a store can be opened; StoreMissing, StoreError, Unreachable."""

    async def opened() -> None:
        await (await open_store(store)).aclose()

    trio.run(opened)


@contextmanager
def _staged(staging: str) -> Iterator[str]:
    """Give an empty directory like a root: anyone may enter it."""
    os.makedirs(staging, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="root-", dir=staging) as folder:
        directory = os.path.join(folder, "root")
        os.mkdir(directory)
        os.chmod(directory, 0o755)
        yield directory


def _store(directory: str, store: str, run_directory: str) -> str:
    said = output([*ours("fossil_fs.cli.vac"), "-q", "--store", store, directory])
    return make_root(said.splitlines()[-1], store, run_directory)
