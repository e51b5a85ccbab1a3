"""A file system in front of another leaves no request out."""

import inspect

from lib9.fuse.interface import Operations
from lib9.fuse.passing import Passing


class Noted(Operations):
    """Notes the name and the arguments of the last request."""

    def __getattribute__(self, name: str) -> object:
        return lambda *arguments: (name, arguments)


def test_every_request_is_passed_on_with_its_arguments() -> None:
    passing = Passing(Noted())
    for name, function in vars(Operations).items():
        if inspect.isfunction(function):
            assert name in vars(Passing)
            arguments = tuple(range(len(inspect.signature(function).parameters) - 1))
            answer = getattr(passing, name)(*arguments)
            assert answer == ((name, arguments) if inspect.iscoroutinefunction(function) else None)
