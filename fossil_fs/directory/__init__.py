"""Directories: names to nodes, read from any archive, written in one canonical form."""

from fossil_fs.directory.edit import Changes, edit_directory
from fossil_fs.directory.read import Directory, Report
from fossil_fs.directory.write import DirectoryWriter, write_directory

__all__ = [
    "Changes",
    "Directory",
    "DirectoryWriter",
    "Report",
    "edit_directory",
    "write_directory",
]
