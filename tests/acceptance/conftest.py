import pytest


@pytest.fixture(autouse=True)
def _own_home(home: object) -> None:
    """Every story plays in a home of its own."""
