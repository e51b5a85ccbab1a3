"""A command joins an environment: a program of its own, which knows nothing that could be taken from it.

    carrier   outside, as the machine's root: starts the next; puts the command into the environment's cgroup;
              carries its streams and signals (carrying.py); ends as it does
    envoy     enters all namespaces at once, takes an environment's rights for its own, starts the next, ends;
              nobody inside sees it (envoy.py)
    command   is seen inside from its first moment on, with no more rights than its neighbours; waits for the
              carrier's word; becomes the program

Little is imported: each command waits for it. (dataclasses alone would be a third of that.)
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from spawngrid.environment import kernel
from spawngrid.environment.runtimes.carrying import SIGNALS, Carrier, Flow, Pipes
from spawngrid.environment.runtimes.envoy import CANNOT_JOIN, Envoy, Order, complain

FILTER: Final = "filter"  # of the bundle: the program by which process 1 is filtered, too
_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    f" from {__name__} import main; import os; os._exit(main(sys.argv[1:]))"
)
_PACKAGES: Final = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))


def words(order: Order, variables: Sequence[str], argv: Sequence[str]) -> list[str]:
    """Return the command line of the program; nothing of who starts it is needed, its environment neither."""
    python = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, _PACKAGES]
    return [*python, json.dumps(order._asdict()), *variables, *argv]


def main(arguments: list[str]) -> int:
    """Be the carrier; return the command's exit status."""
    order = Order(**json.loads(arguments[0]))
    variables, argv = arguments[1 : 1 + order.variables], arguments[1 + order.variables :]
    try:
        return _join(order, variables, argv)
    except OSError as error:
        complain(f"the environment cannot be joined: {error.strerror or error}")
        return CANNOT_JOIN


def _join(order: Order, variables: list[str], argv: list[str]) -> int:
    with open(os.path.join(order.folder, "config.json"), encoding="utf-8") as file:
        process = json.load(file)["process"]
    with open(os.path.join(order.folder, FILTER), "rb") as code:
        envoy = Envoy(order, process, code.read(), argv)
    envoy.variables |= dict(pair.split("=", 1) for pair in process["env"] + variables)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    kernel.adopt()
    pipes = None if order.terminal or order.pid_file else Pipes.made()
    if pipes is not None:
        envoy.streams = pipes.inner
    command, master, go, begun = envoy.sent()
    try:
        for directory in order.groups:
            with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as group:
                group.write(str(command))
    except OSError:
        os.kill(command, signal.SIGKILL)
        raise
    if order.pid_file:
        os.write(go, b".")
        return _leave(command, begun, order.pid_file)
    if pipes is not None:
        for descriptor in pipes.inner:
            os.close(descriptor)
        carrier = Carrier(command, pipes.inputs, pipes.outputs)
    else:
        carrier = Carrier(command, [Flow(0, master, -1)], [Flow(master, 1, -1)], master)
    os.write(go, b".")
    return carrier.run()


def _leave(command: int, begun: int, pid_file: str) -> int:
    """Leave a command to itself once it is a program."""
    if os.read(begun, 1):
        return os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with open(pid_file, "w", encoding="ascii") as file:
        file.write(str(command))
    return 0
