"""The sandbox of a trainer: its environment, its resource limits and where it may write."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import leases
from jobs.db import Database
from jobs.models import DEFAULT_TENANT
from jobs.runtime.settings import Settings
from jobs.storage import keys
from tests.jobs.helpers import disk_path, files_of, submit
from tests.worker.helpers import endless, has_trained, until
from worker import sandbox
from worker.trainer_process import ForkServer, TrainerProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SECRETS = {"AWS_SECRET_ACCESS_KEY": "s3cret", "GANTRY_BROKER_URL": "redis://:s3cret@broker/0", "PASSWORD": "s3cret"}
PASSWORD = "the-databases-own-password"


@pytest.fixture
def trainer(settings: Settings, db: Database, tmp_path: Path) -> Iterator[TrainerProcess]:
    """Yield a trainer that trains, started by a worker whose environment holds secrets."""
    fork_server = ForkServer(
        "wrk_of_the_tests_one_of_several", sandbox.trainer_environment(settings, {**os.environ, **SECRETS})
    )
    job = submit(db, **endless())
    with db.write() as s:
        assert leases.claim(s, "wrk", "cpu", 0, 60) is not None
    log = disk_path(files_of(settings), keys.log(job.id, 1))
    log.parent.mkdir(parents=True)
    try:
        started = fork_server.start(settings, DEFAULT_TENANT, job.id, 1, log)
        until(lambda: started.poll() is not None or has_trained(db, job.id)())
        assert started.poll() is None, log.read_text()
        yield started
    finally:
        fork_server.close()


def test_a_trainer_has_no_secrets_and_tight_limits(settings: Settings, trainer: TrainerProcess) -> None:
    environment, arguments = (Path(f"/proc/{trainer.pid}/{name}").read_bytes() for name in ("environ", "cmdline"))
    names = {word.split(b"=")[0].decode() for word in environment.split(b"\0") if word}
    assert b"s3cret" not in environment + arguments
    assert {name for name in names if name.startswith("GANTRY_")} <= {
        *("GANTRY_DATA_DIR", "GANTRY_LEASE_SECONDS", "GANTRY_LOG_LEVEL", "GANTRY_TRAINER_THREADS"),
    }
    assert settings.database.render_as_string(hide_password=False).encode() not in environment + arguments

    limits = Path(f"/proc/{trainer.pid}/limits").read_text()
    found = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()[1:]}
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max file size"] == [str(64 * 2**30)] * 2
    assert int(found["Max open files"][1]) <= 4096
    assert int(found["Max processes"][1]) <= 16_384
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found["Max data size"] == [str(memory)] * 2
    assert "NoNewPrivs:\t1" in Path(f"/proc/{trainer.pid}/status").read_text()


def test_files_of_a_trainer_are_private_to_its_user(settings: Settings, trainer: TrainerProcess) -> None:
    made = [
        path
        for folder in (settings.data_dir / "artifacts").glob("*/*/previews")
        for path in (folder, *folder.iterdir())
    ]
    assert len(made) > 1 and [path for path in made if path.stat().st_mode & 0o077] == []


WRITES = """
import os, sys
from pathlib import Path
from jobs.runtime.settings import load_settings
from worker import sandbox
settings = load_settings()
if not sandbox.enter(settings, "default", sys.argv[1], on_gpu=False):
    sys.exit("no Landlock")
for place in sys.argv[2:]:
    try:
        Path(place).write_text("x")
        print("written")
    except OSError as error:
        print(type(error).__name__)
import tempfile
with tempfile.TemporaryFile() as file:
    file.write(b"x")
from jobs.db import Database
from jobs.models import DEFAULT_TENANT
from jobs.store import jobs
db = Database(settings.database)
with db.write() as s:
    print(jobs.request_cancel(s, sys.argv[1]).status)
"""


def test_a_trainer_can_write_only_into_its_jobs_folder(settings: Settings, db: Database, tmp_path: Path) -> None:
    mine, other = submit(db, **endless()), submit(db, **endless())
    places = [disk_path(files_of(settings), job.id) / "checkpoints" for job in (mine, other)]
    for folder in (*places, settings.data_dir / "datasets"):
        folder.mkdir(parents=True)
    argv = [sys.executable, "-c", WRITES, mine.id, *(str(place / "a.pt") for place in places)]
    argv += map(str, (settings.data_dir / "datasets" / "x", tmp_path / "x", Path.home() / "x-of-a-test"))
    environment = {**os.environ, **settings.environment()}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
    if "no Landlock" in done.stderr:
        pytest.skip("this kernel has no Landlock")
    assert done.stdout.split() == ["written", *["PermissionError"] * 4, "cancelled"], done.stderr


def test_a_trainer_on_a_gpu_has_no_limit_of_its_data_size(settings: Settings) -> None:
    assert resource.RLIMIT_DATA not in sandbox._limits(on_gpu=True)
    assert sandbox._limits(on_gpu=True)[resource.RLIMIT_CORE] == 0


def test_the_database_url_is_passed_only_through_the_pipe() -> None:
    settings = Settings(
        database_url=f"postgresql://gantry:{PASSWORD}@db/gantry", broker_url=f"redis://:{PASSWORD}@b/0"
    )
    seen = sandbox.trainer_environment(settings, {"PATH": "p", "CUDA_VISIBLE_DEVICES": "1", "LC_ALL": "C", **SECRETS})
    assert (seen["PATH"], seen["CUDA_VISIBLE_DEVICES"], seen["LC_ALL"]) == ("p", "1", "C")
    assert not SECRETS.keys() & seen.keys() and PASSWORD not in str(seen)
    passed = sandbox.settings_for_pipe(settings)
    assert PASSWORD in passed["GANTRY_DATABASE_URL"] and "GANTRY_BROKER_URL" not in passed
