"""Block types as people write and see them: names, or libventi's numbers in memory."""

from lib9.errors import UsageError
from venti_store.kind import Kind, from_memory


def parse_type(text: str) -> Kind:
    """Return the kind that `text` names: `data`, `directory`, `root`, `pointer1` …, or 0 to 16."""
    try:
        return from_memory(int(text))
    except ValueError:
        pass
    try:
        return Kind[text.upper()]
    except KeyError:
        raise UsageError(
            f"{text}: no block type (data, directory, root, pointer1 … 7, 0 … 16)"
        ) from None
