import os
from pathlib import Path

import pytest

from lib9 import places


def test_the_variables_win_and_must_be_absolute() -> None:
    assert places.data_directory({"XDG_DATA_HOME": "/d", "HOME": "/h"}) == "/d"
    assert places.data_directory({"XDG_DATA_HOME": "relative", "HOME": "/h"}) == "/h/.local/share"
    assert places.state_directory({"HOME": "/h"}) == "/h/.local/state"
    assert places.cache_directory({"HOME": "/h"}) == "/h/.cache"
    assert places.run_directory({"XDG_RUNTIME_DIR": "/r"}) == "/r/spawngrid"


def test_running_things_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert places.run_directory({}) == "/run/spawngrid"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert places.run_directory({}) == "/tmp/spawngrid-1000"


def test_a_private_directory_is_private(tmp_path: Path) -> None:
    path = places.private_directory(str(tmp_path / "a" / "b"))
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert places.private_directory(path) == path
    os.chmod(path, 0o777)
    with pytest.raises(PermissionError, match="alone"):
        places.private_directory(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(PermissionError):
        places.private_directory(str(tmp_path / "link"))
