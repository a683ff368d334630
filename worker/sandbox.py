"""The room that a trainer has for itself: what it may see, use up and write. It reads what others may read.

Its environment is an allow-list; the database's address, which may hold a password, comes by the nursery's pipe and
stands neither in the environment nor among the arguments. It writes into its job's folder, the cache of feature
networks and the embedded database alone.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from gan import sandbox
from jobs.runtime.settings import PREFIX, Settings
from jobs.storage import keys, open_storage

_SPINS: Final = "10000"
"""How long an OpenMP thread of torch's spins for the others before it sleeps. The library's own 300,000 makes two
threads on busy cores several times slower than one; fewer spins cost nothing on free cores, within the noise."""
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "HF_HOME", "HF_HUB_CACHE")
_PASSED_ON_PREFIXES: Final = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "GOMP_", "MKL_", "PYTHON")
# Of the settings: all that it reads, but for the address of the database.
_TOLD: Final = ("data_dir", "faults_dir", "lease_seconds", "log_level", "trainer_threads")
_BY_PIPE: Final = "database_url"

_MOST_FILE_BYTES: Final = 64 * 2**30
_MOST_FILES: Final = 4096
# Of the user, threads too, and not of this process alone: enough for others, and an end to a fork bomb.
_MOST_PROCESSES: Final = 16_384
_HELD: Final[list[sqlite3.Connection]] = []
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - torch puts what its processes share there


def trainer_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What a trainer may see of `environ`, and the settings that are no secret. All else stays with the worker."""
    passed = {k: v for k, v in environ.items() if k in _PASSED_ON or k.startswith(_PASSED_ON_PREFIXES)}
    return {"GOMP_SPINCOUNT": _SPINS} | passed | _variables(settings, _TOLD)


def told(settings: Settings) -> dict[str, str]:
    """What a trainer is told of the settings, by a pipe that nobody else can read."""
    return _variables(settings, (*_TOLD, _BY_PIPE))


def forget() -> None:
    """Have no process that this one starts see the settings."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]


def enter(settings: Settings, tenant: str, job_id: str, *, on_gpu: bool) -> bool:
    """Shut the doors of this process; whether it is held to its folders, too."""
    sandbox.limit(_limits(on_gpu))
    artifacts = open_storage(settings).artifacts(tenant)
    attempts = artifacts.writable_folder(keys.attempts(job_id))
    folders = [artifacts.writable_folder(job_id), attempts, settings.features_dir, *_elsewhere(settings)]
    for folder in folders:
        with suppress(OSError):  # of one that cannot be made nobody will miss the way in
            folder.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(attempts)
    return sandbox.write_only_in([folder for folder in folders if folder.is_dir()], _files(settings))


def _limits(on_gpu: bool) -> dict[int, int]:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _MOST_FILE_BYTES,
        resource.RLIMIT_NOFILE: _MOST_FILES,
        resource.RLIMIT_NPROC: _MOST_PROCESSES,
    }
    # CUDA reserves far more addresses than there is memory. On a processor the host's memory is the end: a job that
    # wants more fails with `out_of_memory`, before the kernel picks somebody to kill.
    if not on_gpu and sys.platform == "linux":
        limits[resource.RLIMIT_DATA] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limits


def _files(settings: Settings) -> Iterator[Path]:
    """What is not in a folder of its own."""
    if settings.database.startswith("sqlite:///"):
        path = settings.database.removeprefix("sqlite:///")
        _hold_open(path)
        for ending in ("", "-wal", "-shm"):
            yield Path(path + ending)
    yield Path(os.devnull)
    yield from Path("/dev").glob("nvidia*")


def _hold_open(path: str) -> None:
    """While it is open somewhere, a database has its two other files; behind the walls they could not be made."""
    with suppress(sqlite3.Error):  # who asks it later on says what is wrong with it
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _HELD.append(connection)


def _elsewhere(settings: Settings) -> Iterator[Path]:
    if settings.faults_dir is not None:
        yield settings.faults_dir
    if find_spec("datasets") is not None:
        # Where that optional library keeps what it downloads.
        yield Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    if _SHARED_MEMORY.is_dir():
        yield _SHARED_MEMORY


def _variables(settings: Settings, names: tuple[str, ...]) -> dict[str, str]:
    wanted = {f"{PREFIX}{name.upper()}" for name in names}
    return {name: value for name, value in settings.environment().items() if name in wanted}
