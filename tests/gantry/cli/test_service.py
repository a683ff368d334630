"""The commands that run the service or a part of it: `doctor`, `settings`, `keys first`, and invalid settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.db import migrate
from jobs.runtime.settings import Settings
from tests.conftest import small_settings
from tests.gantry.command import gantry


@pytest.mark.parametrize("command", ["up", "api", "relay", "migrate", "settings", "doctor"])
def test_an_invalid_variable_is_one_sentence_and_exit_2(command: str) -> None:
    done = gantry(command, variables={"GANTRY_PORT": "many"})
    assert done.returncode == 2 and "GANTRY_PORT" in done.stderr and len(done.stderr.splitlines()) == 1
    done = gantry(command, variables={"GANTRY_PROT": "8000"})
    assert done.returncode == 2 and "GANTRY_PORT" in done.stderr


def test_the_doctor_finds_the_parts_that_do_not_run(served: Settings) -> None:
    done = gantry("doctor", "--json", variables=served.environment())
    checks = json.loads(done.stdout)
    assert done.returncode == 1
    assert checks["database"]["ok"] and checks["broker"]["ok"] and checks["data folder"]["ok"]
    assert not checks["sampler"]["ok"] and not checks["devices"]["ok"]


def test_the_doctor_creates_nothing_and_names_the_command_that_does(tmp_path: Path) -> None:
    done = gantry("doctor", "--json", "--data", str(tmp_path / "data"))
    checks = json.loads(done.stdout)
    assert done.returncode == 1 and list(tmp_path.iterdir()) == []
    assert "`gantry up` or `gantry migrate` creates it" in checks["database"]["detail"]
    assert [name for name, check in checks.items() if not check["ok"] and "`gantry up`" not in check["detail"]] == []
    migrate(small_settings(tmp_path))
    before = _files(tmp_path)
    checks = json.loads(gantry("doctor", "--json", "--data", str(tmp_path / "data")).stdout)
    assert checks["database"]["ok"] and checks["data folder"]["ok"]
    assert _files(tmp_path) == before


def _files(folder: Path) -> list[Path]:
    """Return every path below `folder` but SQLite's own files, which come and go while the database is open."""
    return [path for path in sorted(folder.rglob("*")) if "gantry.db" not in path.name]


def test_settings_lists_every_variable_and_hides_urls() -> None:
    done = gantry("settings", variables={"GANTRY_DATABASE_URL": "postgresql://me:secret@host/db"})
    assert "secret" not in done.stdout and "GANTRY_DATABASE_URL=(set)" in done.stdout
    for name in Settings.model_fields:
        assert f"GANTRY_{name.upper()}=" in done.stdout


def test_settings_may_be_cut_off_by_the_reader_of_a_pipe() -> None:
    argv = [sys.executable, "-m", "gantry", "settings"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as settings:
        assert settings.stdout is not None and settings.stderr is not None
        settings.stdout.close()
        assert settings.stderr.read() == "" and settings.wait(60) == 1


def test_a_module_in_the_current_folder_does_not_hide_the_service(tmp_path: Path) -> None:
    for name in ("jobs", "gan", "api", "worker", "gantry"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    argv = [sys.executable, "-P", "-m", "gantry", "doctor", "--json", "--data", "data"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, env=_absolute_path())
    assert done.returncode == 1 and "database" in json.loads(done.stdout), done.stderr


def _absolute_path() -> dict[str, str]:
    """Return this process's variables, with the folders of its PYTHONPATH as absolute paths."""
    folders = [str(Path(folder).absolute()) for folder in os.environ.get("PYTHONPATH", "").split(":") if folder]
    return {**os.environ, "PYTHONPATH": ":".join(folders)}


def test_the_first_key_is_created_once(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    migrate(settings)
    first = gantry("keys", "first", variables=settings.environment())
    assert first.returncode == 0 and first.stdout.startswith("gan_live_")
    second = gantry("keys", "first", variables=settings.environment())
    assert second.returncode == 1 and second.stdout == ""
    assert second.stderr.startswith("There is an administrator's key already.")
