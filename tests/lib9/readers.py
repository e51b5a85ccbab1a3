"""Many readers of one file that wait: python -m tests.lib9.readers FILE COUNT.

Says "waiting" when all are forked; on a line of input sends SIGINT to all of them, and says how many
seconds it took until the last was gone, and how many died by the signal.
"""

import os
import signal
import sys
import time


def main(path: str, count: int) -> None:
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.read(os.open(path, os.O_RDONLY), 100)
            os._exit(7)
        children.append(child)
    print("waiting", flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    for child in children:
        os.kill(child, signal.SIGINT)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    seconds = time.monotonic() - start
    print(f"{seconds:.3f} {ends.count(-signal.SIGINT)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
