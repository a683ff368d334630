"""The data folder of the demo: an earlier demo's data is deleted, other data is kept. `make demo` runs the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.local.data_folder import LOCK_FILE, locked
from gantry.local.demo import fresh_folder
from gantry.local.errors import DemoError


def test_the_data_of_an_earlier_demo_is_deleted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / LOCK_FILE).touch()
    (data / "gantry.db").touch()
    assert list(fresh_folder(data).iterdir()) == []


def test_the_data_of_a_running_service_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "gantry.db").touch()
    with locked(data), pytest.raises(DemoError, match="Another `gantry up` runs"):
        fresh_folder(data)
    assert (data / "gantry.db").exists()


def test_data_that_no_demo_made_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "thesis.txt").touch()
    with pytest.raises(DemoError, match="no earlier demo made it"):
        fresh_folder(data)
    assert (data / "thesis.txt").exists()


def test_an_empty_or_missing_folder_is_used_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert fresh_folder(tmp_path / "empty").is_dir()
    assert fresh_folder(tmp_path / "new" / "data").stat().st_mode & 0o077 == 0
