"""The wheel, installed without extras in a new environment: the client and the command alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from jobs.db import Database
from jobs.runtime.settings import Settings
from jobs.store import metrics
from tests.api.shell import url_of
from tests.gantry.command import claim

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGES: Final = ("gantry", "api", "gan", "jobs", "worker", "migrations")
ABSENT: Final = ("torch", "fastapi", "sqlalchemy", "celery", "nicegui", "matplotlib", "numpy")
MAX_MEGABYTES: Final = 60

# Command -> the extra that installs its libraries.
EXTRAS: Final = {
    "up": "all",
    "demo": "all",
    "api": "server",
    "relay": "server",
    "openapi": "server",
    "ui": "ui",
    "worker": "worker",
    "sampler": "worker",
    "migrate": "record",
    "settings": "record",
    "doctor": "record",
    "keys first": "record",
}


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the bare wheel, and a folder to run its commands in."""

    python: Path
    folder: Path

    @property
    def site_packages(self) -> Path:
        return Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in this environment. It finds no module of the source tree."""
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        argv = [str(self.python), *arguments]
        return subprocess.run(
            argv, cwd=self.folder, env={**env, **variables}, capture_output=True, text=True, check=False
        )

    def gantry(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command `gantry` of this environment."""
        return self.run(str(self.python.with_name("gantry")), *words, **variables)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("wheel")
    wheel, python = _build_wheel(folder), folder / "venv" / "bin" / "python"
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    try:
        _run(*pip, "--python", str(python), "install", "-c", str(ROOT / "constraints.txt"), str(wheel))
    except AssertionError as error:
        if "connection broken by" in str(error):
            pytest.skip("The package index cannot be reached.")
        raise
    (folder / "work").mkdir()
    return Installation(python, folder / "work")


def _build_wheel(folder: Path) -> Path:
    """Build from a copy, because setuptools leaves folders in the source tree."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source"))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_bare_installation_has_the_client_alone_and_is_small(installed: Installation) -> None:
    script = f"from importlib.util import find_spec; print([name for name in {ABSENT} if find_spec(name)])"
    assert installed.run("-c", script).stdout == "[]\n"
    size = sum(path.stat().st_size for path in installed.site_packages.rglob("*") if path.is_file())
    assert size / 1e6 <= MAX_MEGABYTES


def test_version_and_help_work_without_extras(installed: Installation) -> None:
    sentence = f"gantry {version('gantry')}\n"
    assert installed.gantry("--version").stdout == installed.run("-m", "gantry", "--version").stdout == sentence
    for words in ("", "worker", "worker drain", "keys first", "up"):
        assert installed.gantry(*words.split(), "-h").stdout.startswith("Usage: gantry"), words


@pytest.mark.parametrize(("command", "extra"), EXTRAS.items())
def test_a_command_of_another_part_names_the_extra(installed: Installation, command: str, extra: str) -> None:
    done = installed.gantry(*command.split())
    assert done.returncode == 1 and done.stdout == ""
    sentence = f"`gantry {command}` needs libraries that are not installed. Run: pip install 'gantry[{extra}]'\n"
    assert done.stderr == sentence


SCRIPT: Final = """
import json, sys
from gantry import ApiError, Client, MissingExtraError
from gantry.images import read_png

with Client(sys.argv[1]) as client:
    (job,) = client.jobs(limit=1)["data"]
    picture = read_png(client.curves(job["id"]))
    try:
        client.arrays(job["id"])
    except MissingExtraError as error:
        sentence = str(error)
    try:
        client.job("job_0")
    except ApiError as error:
        code = error.code
print(json.dumps([job["id"], picture.width, sentence, code]))
"""


def test_it_submits_a_job_lists_it_and_fetches_a_picture(installed: Installation, served: Settings) -> None:
    at = {"GANTRY_URL": url_of(served)}
    submitted = installed.gantry("submit", "--dataset", "fashion-mnist-mini", "--steps", "10", **at)
    assert submitted.returncode == 0, submitted.stderr
    job_id = submitted.stdout.strip()
    assert job_id in installed.gantry("jobs", **at).stdout
    _write_curve(served, job_id)
    saved = installed.gantry("curves", job_id, "-o", "loss.png", **at)
    assert saved.returncode == 0, saved.stderr
    assert (installed.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    done = installed.run("-c", SCRIPT, url_of(served))
    assert done.returncode == 0, done.stderr
    listed, width, sentence, code = json.loads(done.stdout)
    assert listed == job_id and width > 100 and code == "job-not-found"
    assert sentence == "`Client.arrays` needs libraries that are not installed. Run: pip install 'gantry[arrays]'"


def _write_curve(settings: Settings, job_id: str) -> None:
    claim(settings, job_id)
    db = Database(settings.database)
    with db.write() as session:
        metrics.append(session, job_id, 1, 1, ["loss_d"], np.array([[0.5], [0.25]], np.float32))
    db.dispose()
