"""Uploads: archives of images that become data sets, checked and unpacked by a process with limited resources.

The process is `gan.uploads`, started by its module name. It gets no secrets, and its output is lines of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import structlog

from jobs.db import Database
from jobs.errors import UploadsBusyError
from jobs.runtime import process
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.storage import Storage, keys
from jobs.storage.orphans import find_orphans
from jobs.store import datasets

log = structlog.get_logger("gantry.uploads")

_MODULE: Final = "gan.uploads"
_INSPECT_SECONDS: Final = 90
# Each process may use a gigabyte of memory.
_SLOTS: Final = ConcurrencyLimiter(
    2, UploadsBusyError, "Too many archives are being checked at the moment. Try again in a moment.", waiting=6
)
_PASSED_VARIABLES: Final = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
# One thread each: the work is done image by image, and every thread takes memory from the limit.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_CRASH: Final = "The process crashed ({}), probably over the file that it was reading."
_SIGNALS: Final[dict[int, str]] = {
    signal.SIGKILL: "The process was killed (SIGKILL), as the system does when memory is short.",
    signal.SIGTERM: "The process was stopped (SIGTERM).",
    signal.SIGXCPU: "The process used more processor time than the limit for an upload.",
    **{
        number: _CRASH.format(number.name)
        for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL)
    },
}

Problems = list[dict[str, Any]]


def inspect(path: Path) -> Problems:
    """Return the problems of the archive at `path`, as far as its directory shows them; none if it may be unpacked.

    Raises `UploadsBusyError` where too many archives are being checked, or already wait for it.
    """
    with _SLOTS.slot(within_seconds=_INSPECT_SECONDS):
        output, ended = _output_of("inspect", str(path))
    for message in map(json.loads, output.splitlines()):
        if "refused" in message:
            return list(message["refused"])
        if "found" in message:
            return []
        ended = str(message.get("ended", ended))
    detail = f"The archive's directory could not be read. {ended}"
    return [{"file": None, "code": "unsafe-archive", "detail": detail}]


def _output_of(*arguments: str) -> tuple[bytes, str]:
    """Run the process. Return its whole lines of output, and how it ended, as a sentence."""
    child = start_limited(*arguments)
    try:
        output = child.communicate(timeout=_INSPECT_SECONDS)[0]
        return output[: output.rfind(b"\n") + 1], how_it_ended(child.returncode)
    except subprocess.TimeoutExpired:
        return b"", f"This took longer than {_INSPECT_SECONDS:g} s."
    finally:
        process.end(child, 0)


def how_it_ended(returncode: int) -> str:
    """Return a sentence about a process of `gan.uploads` that ended with this code, negative for a signal."""
    if returncode >= 0:
        return f"The process ended by an error of its own, with exit code {returncode}; the service's log has it."
    return _SIGNALS.get(-returncode) or f"The process was ended by signal {-returncode}."


def delete_orphans(db: Database, storage: Storage, older_than_seconds: float) -> list[str]:
    """Delete the files of data sets that are not in the database, unchanged for so long; return their ids."""

    def known() -> set[str]:
        with db.read() as s:
            return set(datasets.ids_with_files(s))

    orphans = find_orphans(storage, keys.DATASETS, "ds", known, older_than_seconds)
    for tenant, dataset_id in orphans:
        storage.datasets(tenant).delete_prefix(dataset_id)
        log.info("deleted the files of a data set that is not in the database", dataset_id=dataset_id)
    return [dataset_id for _, dataset_id in orphans]


def start_limited(*arguments: str) -> subprocess.Popen[bytes]:
    """Start `gan.uploads` with these arguments and without secrets in its environment; its stdout is a pipe."""
    passed = {k: v for k, v in os.environ.items() if k in _PASSED_VARIABLES or k.startswith(("LC_", "PYTHON"))}
    argv = [sys.executable, "-m", _MODULE, *arguments]
    return process.spawn(argv, env={**passed, **_ONE_THREAD}, stdout=subprocess.PIPE)
