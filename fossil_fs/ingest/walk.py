"""Going through a directory of the host, depth first, names in bytewise order."""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from fossil_fs.host_xattrs import read_xattrs
from fossil_fs.ingest.options import Options
from fossil_fs.ingest.readers import OpenDirectory
from fossil_fs.ingest.report import Report, why
from fossil_fs.ingest.scan import Found, list_directory, open_directory
from fossil_fs.ingest.visit import Visit
from fossil_fs.qid import qid_of


class Step(NamedTuple):
    """A directory is entered, with its files (all but directories) to be read; or left: no directory."""

    visit: Visit
    directory: OpenDirectory | None
    files: list[Found]


class _Level(NamedTuple):
    visit: Visit
    directory: OpenDirectory
    rest: Iterator[Found]


class Walk:
    """Walks below directories that are open already. What cannot be read is told to the report."""

    def __init__(self, options: Options, report: Report) -> None:
        self._options = options
        self._report = report

    def below(self, top: Visit, fd: int) -> Iterator[Step]:
        """Enter and leave `top` and every directory below it; `fd` is closed when it is done with."""
        device = os.fstat(fd).st_dev
        levels: list[_Level] = []
        try:
            yield from self._enter(top, OpenDirectory(fd), device, levels)
            while levels:
                level = levels[-1]
                found = next(level.rest, None)
                if found is not None:
                    child = self._open(level, found)
                    if child is not None:
                        yield from self._enter(*child, device, levels)
                    continue
                levels.pop()
                level.directory.release()
                yield Step(level.visit, None, [])
        finally:
            for level in levels:
                level.directory.release()

    def _enter(
        self, visit: Visit, directory: OpenDirectory, device: int, levels: list[_Level]
    ) -> Iterator[Step]:
        files: list[Found] = []
        directories: list[Found] = []
        state = os.fstat(directory.fd)
        try:
            visit.xattrs = read_xattrs(directory.fd)
            if not self._options.one_file_system or state.st_dev == device:
                files, directories = self._list(visit, directory.fd)
        except OSError as error:
            self._report.trouble(visit.shown, why(error))
        visit.state = state
        levels.append(_Level(visit, directory, iter(directories)))
        yield Step(visit, directory, files)

    def _list(self, visit: Visit, fd: int) -> tuple[list[Found], list[Found]]:
        def vanished(name: bytes, error: OSError) -> None:
            self._report.trouble(os.path.join(visit.shown, name), why(error))

        files: list[Found] = []
        directories: list[Found] = []
        exclude = self._options.exclude
        for found in list_directory(fd, vanished):
            is_directory = stat.S_ISDIR(found.stat.st_mode)
            if exclude and exclude(visit.below(found.name), directory=is_directory):
                continue
            if is_directory and (found.stat.st_dev, found.stat.st_ino) in self._options.skip:
                continue
            (directories if is_directory else files).append(found)
        return files, directories

    def _open(self, level: _Level, found: Found) -> tuple[Visit, OpenDirectory] | None:
        shown = os.path.join(level.visit.shown, found.name)
        try:
            fd = open_directory(found.name, level.directory.fd)
        except OSError as error:
            self._report.trouble(shown, why(error))
            return None
        path = level.visit.below(found.name)
        visit = Visit(path, shown, qid_of(level.visit.path, found.name))
        level.visit.children.append((found.name, visit))
        return visit, OpenDirectory(fd)
