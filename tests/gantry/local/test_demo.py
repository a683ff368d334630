"""The demo's folder: its own leavings go, anybody else's data stay. The demo itself is run by `make demo`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.local.demo import fresh_folder
from gantry.local.errors import DemoError
from gantry.local.up import LOCK, alone


def test_what_an_earlier_demo_left_is_dropped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / LOCK).touch()
    (data / "gantry.db").touch()
    assert list(fresh_folder(data).iterdir()) == []


def test_data_that_a_service_runs_on_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "gantry.db").touch()
    with alone(data / LOCK, data), pytest.raises(DemoError, match="Another `gantry up` runs"):
        fresh_folder(data)
    assert (data / "gantry.db").exists()


def test_data_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "thesis.txt").touch()
    with pytest.raises(DemoError, match="no earlier demo made it"):
        fresh_folder(data)
    assert (data / "thesis.txt").exists()


def test_an_empty_or_a_missing_folder_will_do_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert fresh_folder(tmp_path / "empty").is_dir()
    assert fresh_folder(tmp_path / "new" / "data").stat().st_mode & 0o077 == 0
