"""A stored root becomes a directory or a tar archive."""

from spawngrid.roots.archives import is_archive, pack
from spawngrid.roots.fitting import mounted
from spawngrid.roots.programs import ours, run


def export_root(score: str, store: str, target: str, run_directory: str) -> None:
    """Write a root to a directory, or to a tar archive (`-`: to stdout). ProgramFailed."""
    if not is_archive(target):
        run([*ours("fossil_fs.cli.unvac"), "--store", store, score, target])
        return
    with mounted(score, store, run_directory, read_only=True) as (point, _):
        pack(point, target)
