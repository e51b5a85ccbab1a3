"""What the kernel holds back of files that are open for writing: the mount's own process cannot ask for it.

With the kernel's write-back cache write(2) returns before the daemon has the bytes. close(2) hands them out,
and so does fsync(2), which waits for every one of them to be answered; syncfs(2) on a FUSE mount does not.
So before a save each file that somebody has open for writing is fsynced. A process of its own does that:
a daemon that waited for itself in the kernel could not be killed. It runs this file, which imports little.
"""

import os
import stat
import sys
from errno import EACCES, ESTALE


def write_out(root: int, ino: int, path: bytes) -> None:
    """Have the kernel hand out a file below the descriptor `root`, and wait for it; OSError.

    ESTALE: another file has that name.
    """
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, os.O_RDONLY | flags, dir_fd=root)
    except PermissionError:
        file = os.open(path, os.O_WRONLY | flags, dir_fd=root)
    try:
        found = os.fstat(file)
        if found.st_ino != ino or not stat.S_ISREG(found.st_mode):
            raise OSError(ESTALE, os.strerror(ESTALE))
        os.fsync(file)
    finally:
        os.close(file)


def main() -> int:
    """Do so for every `INODE PATH` on stdin, each ended by NUL; say `INODE ERRNO` of those that fail.

    Arguments: the mount point and the minor number of what must be mounted there.
    """
    point, minor = os.fsencode(sys.argv[1]), int(sys.argv[2])
    root = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if os.minor(os.fstat(root).st_dev) != minor:
        return 1
    for line in sys.stdin.buffer.read().split(b"\0")[:-1]:
        ino, _, path = line.partition(b" ")
        try:
            write_out(root, int(ino), path)
        except OSError as error:
            sys.stdout.write(f"{ino.decode()} {error.errno or EACCES}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
