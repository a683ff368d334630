"""Uploads: archives of images that become data sets, inspected and unpacked by a process with limits.

The process is `gan.uploads`, started by its name; it is told no secret, and what it says is lines of JSON.
"""

from __future__ import annotations

import json
import os
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
# Each may take a gigabyte.
_PLACES: Final = ConcurrencyLimiter(
    2, UploadsBusyError, "More archives are being judged than there is room for; try again in a moment.", waiting=6
)
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
# One thread each: what there is to do is done image by image, and threads take memory from its limit.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Problems = list[dict[str, Any]]


def inspect(path: Path) -> Problems:
    """What is wrong with the archive at `path`, as far as its directory tells; nothing: it may be unpacked.

    Raises `UploadsBusyError` where too many are being judged for so long, or wait for it.
    """
    with _PLACES.slot(within_seconds=_INSPECT_SECONDS):
        said = _heard("inspect", str(path))
    for line in said.splitlines():
        answer = json.loads(line)
        if "refused" in answer:
            return list(answer["refused"])
        if "found" in answer:
            return []
    detail = "The archive's directory takes more memory or time to read than an upload gets."
    return [{"file": None, "code": "unsafe-archive", "detail": detail}]


def _heard(*arguments: str) -> bytes:
    """All that the process says, in the time that it gets."""
    child = start_limited(*arguments)
    try:
        return child.communicate(timeout=_INSPECT_SECONDS)[0]
    except subprocess.TimeoutExpired:
        return b""
    finally:
        process.end(child, 0)


def delete_orphans(db: Database, storage: Storage, older_than_seconds: float) -> list[str]:
    """Delete the files of data sets that are not on record, untouched for so long; return their ids."""

    def known() -> set[str]:
        with db.read() as s:
            return set(datasets.ids_with_files(s))

    orphans = find_orphans(storage, keys.DATASETS, "ds", known, older_than_seconds)
    for tenant, dataset_id in orphans:
        storage.datasets(tenant).delete_prefix(dataset_id)
        log.info("files of a data set that is not on record dropped", dataset_id=dataset_id)
    return [dataset_id for _, dataset_id in orphans]


def start_limited(*arguments: str) -> subprocess.Popen[bytes]:
    passed = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith(("LC_", "PYTHON"))}
    argv = [sys.executable, "-m", _MODULE, *arguments]
    return process.spawn(argv, env={**passed, **_ONE_THREAD}, stdout=subprocess.PIPE)
