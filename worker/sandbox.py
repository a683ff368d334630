"""The sandbox of a trainer: its environment, its resource limits, and the folders that it may write to.

The environment is an allow-list. The database's address may hold a password, so it comes through the fork server's
pipe and is neither in the environment nor among the arguments. A trainer writes only to its job's folders, the cache
of feature networks and the embedded database. Reading is not restricted.
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
"""How often an OpenMP thread of torch spins before it sleeps. With the library's default of 300,000, two threads on
busy cores are several times slower than one. Fewer spins cost nothing measurable on free cores."""
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "HF_HOME", "HF_HUB_CACHE")
_PASSED_ON_PREFIXES: Final = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "GOMP_", "MKL_", "PYTHON")
# The settings that a trainer reads, except the address of the database.
_SETTINGS: Final = ("data_dir", "faults_dir", "lease_seconds", "log_level", "trainer_threads")
_BY_PIPE: Final = "database_url"

_MOST_FILE_BYTES: Final = 64 * 2**30
_MOST_FILES: Final = 4096
# The limit counts all processes and threads of the user: high enough for others, low enough to stop a fork bomb.
_MOST_PROCESSES: Final = 16_384
_OPEN_CONNECTIONS: Final[list[sqlite3.Connection]] = []
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - torch keeps shared memory there


def trainer_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a trainer: the allowed part of `environ`, and the settings that are not secret."""
    passed = {k: v for k, v in environ.items() if k in _PASSED_ON or k.startswith(_PASSED_ON_PREFIXES)}
    return {"GOMP_SPINCOUNT": _SPINS} | passed | _variables(settings, _SETTINGS)


def settings_for_pipe(settings: Settings) -> dict[str, str]:
    """Return the settings that a trainer gets through a pipe that no other process can read."""
    return _variables(settings, (*_SETTINGS, _BY_PIPE))


def remove_settings_from_environment() -> None:
    """Remove the settings from this process's environment, so that child processes do not inherit them."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]


def enter(settings: Settings, tenant: str, job_id: str, *, on_gpu: bool) -> bool:
    """Limit this process. Returns whether the kernel restricts its writes to its folders (Landlock)."""
    sandbox.limit(_limits(on_gpu))
    artifacts = open_storage(settings).artifacts(tenant)
    attempts = artifacts.writable_folder(keys.attempts(job_id))
    folders = [artifacts.writable_folder(job_id), attempts, settings.features_dir, *_shared_folders(settings)]
    for folder in folders:
        with suppress(OSError):  # a folder that cannot be created need not be writable
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
    # CUDA reserves far more addresses than there is memory. On a CPU the limit is the host's memory: a job that needs
    # more fails with `out_of_memory` before the kernel kills some process.
    if not on_gpu and sys.platform == "linux":
        limits[resource.RLIMIT_DATA] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limits


def _files(settings: Settings) -> Iterator[Path]:
    """Yield the single files that a trainer writes: the embedded database and devices."""
    if (file := settings.sqlite_file) is not None:
        _keep_open(file)
        for ending in ("", "-wal", "-shm"):
            yield file.with_name(file.name + ending)
    yield Path(os.devnull)
    yield from Path("/dev").glob("nvidia*")


def _keep_open(path: Path) -> None:
    """Keep a connection open, so that SQLite's -wal and -shm files exist: the sandbox forbids to create them."""
    with suppress(sqlite3.Error):  # a later query raises the same error
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _OPEN_CONNECTIONS.append(connection)


def _shared_folders(settings: Settings) -> Iterator[Path]:
    if settings.faults_dir is not None:
        yield settings.faults_dir
    if find_spec("datasets") is not None:
        # The download cache of the optional library `datasets`.
        yield Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    if _SHARED_MEMORY.is_dir():
        yield _SHARED_MEMORY


def _variables(settings: Settings, names: tuple[str, ...]) -> dict[str, str]:
    wanted = {f"{PREFIX}{name.upper()}" for name in names}
    return {name: value for name, value in settings.environment().items() if name in wanted}
