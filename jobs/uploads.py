"""Data sets that people bring, on their way in: kept in a folder each, judged and unpacked by a limited process.

    datasets/TENANT/ds_.../upload.zip   what came, until it is unpacked
    datasets/TENANT/ds_.../1/           what the first attempt made of it; of a lost relay there may be a second

The process is `gan.uploads`, started by its name; it is told no secret, and what it says is lines of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import structlog

from jobs.db import Database
from jobs.errors import UploadsBusyError
from jobs.ids import looks_like
from jobs.models import Dataset
from jobs.runtime import process
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.runtime.settings import Settings
from jobs.store import datasets

log = structlog.get_logger("gantry.intake")

UPLOAD: Final = "upload.zip"

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


def folder_of(settings: Settings, tenant: str, dataset_id: str) -> Path:
    """Where all files of a tenant's data set lie."""
    return settings.datasets_dir / tenant / dataset_id


def files_of(settings: Settings, row: Dataset) -> Path:
    """Where the images of a data set that is ready lie."""
    return folder_of(settings, row.tenant, row.id) / str(row.attempt)


def delete_files(settings: Settings, tenant: str, dataset_id: str) -> None:
    """Remove all files of a tenant's data set."""
    # What somebody is writing at this moment is an orphan, and is swept up.
    shutil.rmtree(folder_of(settings, tenant, dataset_id), ignore_errors=True)


def delete_orphans(db: Database, settings: Settings, older_than_seconds: float) -> list[str]:
    """Remove the folders that no data set on record owns, untouched for so long; their ids."""
    before = time.time() - older_than_seconds
    # Listed before the record is read: one that is born in between owns its folder.
    found = [p for p in settings.datasets_dir.glob("*/*") if looks_like("ds", p.name) and _touched(p) < before]
    with db.read() as s:
        known = datasets.ids_with_files(s)
    dropped = [folder for folder in found if folder.name not in known]
    for folder in dropped:
        delete_files(settings, folder.parent.name, folder.name)
        log.info("files of a data set that is not on record dropped", dataset_id=folder.name)
    return [folder.name for folder in dropped]


def start_limited(*arguments: str) -> subprocess.Popen[bytes]:
    passed = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith(("LC_", "PYTHON"))}
    argv = [sys.executable, "-m", _MODULE, *arguments]
    return process.spawn(argv, env={**passed, **_ONE_THREAD}, stdout=subprocess.PIPE)


def _touched(folder: Path) -> float:
    """When something was last written in it."""
    try:
        return max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    except FileNotFoundError:  # it is being removed
        return time.time()
