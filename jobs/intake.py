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
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import structlog

from gan.spec import DatasetInfo
from jobs import process
from jobs.db import Database
from jobs.errors import Fenced, Unavailable, UploadsBusy
from jobs.ids import looks_like
from jobs.models import Dataset
from jobs.places import Places
from jobs.settings import Settings
from jobs.store import datasets

log = structlog.get_logger("gantry.intake")

UPLOAD: Final = "upload.zip"

_MODULE: Final = "gan.uploads"
_INSPECT_SECONDS: Final = 90
# Each may take a gigabyte.
_PLACES: Final = Places(
    2, UploadsBusy, "More archives are being judged than there is room for; try again in a moment.", waiting=6
)
_LEASE_SECONDS: Final = 60.0
_LONGEST_SILENCE_SECONDS: Final = 120.0
_MOST_ATTEMPTS: Final = 5
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
# One thread each: what there is to do is done image by image, and threads take memory from its limit.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Problems = list[dict[str, Any]]


def inspect(path: Path) -> Problems:
    """What is wrong with the archive at `path`, as far as its directory tells; nothing: it may be unpacked.

    Raises `UploadsBusy` where too many are being judged for so long, or wait for it.
    """
    with _PLACES.one(within_seconds=_INSPECT_SECONDS):
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
    child = _start(*arguments)
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


def drop(settings: Settings, tenant: str, dataset_id: str) -> None:
    """Remove all files of a tenant's data set."""
    # What somebody is writing at this moment is an orphan, and is swept up.
    shutil.rmtree(folder_of(settings, tenant, dataset_id), ignore_errors=True)


def drop_orphans(db: Database, settings: Settings, older_than_seconds: float) -> list[str]:
    """Remove the folders that no data set on record owns, untouched for so long; their ids."""
    before = time.time() - older_than_seconds
    # Listed before the record is read: one that is born in between owns its folder.
    found = [p for p in settings.datasets_dir.glob("*/*") if looks_like("ds", p.name) and _touched(p) < before]
    with db.read() as s:
        known = datasets.kept_ids(s)
    dropped = [folder for folder in found if folder.name not in known]
    for folder in dropped:
        drop(settings, folder.parent.name, folder.name)
        log.info("files of a data set that is not on record dropped", dataset_id=folder.name)
    return [folder.name for folder in dropped]


class Intake(threading.Thread):
    """Validates what was brought, one after the other, until it is told to stop."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        super().__init__(name="gantry-intake", daemon=True)
        self._settings, self._stop_asked = settings, stop

    def run(self) -> None:
        db = Database(self._settings.database)
        while not self._stop_asked.is_set():
            try:
                busy = validate_one(db, self._settings, self._stop_asked)
            except (Unavailable, OSError) as error:
                log.warning("trying again", reason=str(error))
                busy = False
            except Exception:
                # Nothing else watches this thread: an odd error must not end it in silence.
                log.exception("a data set could not be validated")
                busy = False
            if not busy:
                self._stop_asked.wait(max(1.0, self._settings.poll_seconds))
        db.dispose()


def validate_one(db: Database, settings: Settings, stop: threading.Event) -> bool:
    """Judge and unpack the oldest that waits, and write what came of it; whether there was one.

    Raises `Unavailable`; the attempt is then repeated when its lease is over.
    """
    with db.read() as s:
        waiting = datasets.waiting(s)
    if waiting is None:
        return False
    with db.write() as s:
        row = datasets.claim(s, waiting, _LEASE_SECONDS)
    if row is None:
        return True
    log.info("data set is validated", dataset_id=row.id, attempt=row.attempt)
    try:
        _validate(db, settings, row, stop)
    except Fenced:
        log.info("the data set is deleted, or another's to validate", dataset_id=row.id)
        with db.read() as s:
            known = row.id in datasets.kept_ids(s)
        if not known:
            drop(settings, row.tenant, row.id)
    return True


def _validate(db: Database, settings: Settings, row: Dataset, stop: threading.Event) -> None:
    folder = folder_of(settings, row.tenant, row.id)
    if row.attempt > _MOST_ATTEMPTS:
        _refuse(db, settings, row, [_lost("It was begun five times, and each time it was cut off.")])
        return
    made: dict[str, Any] | None = None
    problems: Problems = []
    with closing(_said(row, folder, stop)) as said:
        for answer in said:
            if "found" in answer:
                made = answer["found"]
            elif "refused" in answer:
                problems = list(answer["refused"])
            else:
                with db.write() as s:
                    datasets.note(s, row.id, row.attempt, _LEASE_SECONDS, **answer)
    if stop.is_set() and made is None and not problems:
        # For the next relay, at once.
        with db.write() as s:
            datasets.note(s, row.id, row.attempt, 0)
        return
    if made is None:
        _refuse(db, settings, row, problems or [_lost("It took more memory, disk or time than it gets.")])
        return
    info = DatasetInfo.model_validate(made["info"])
    with db.write() as s:
        datasets.accept(s, row.id, row.attempt, info, int(made["held_out"]))
    _tidy(folder, keep=str(row.attempt))
    log.info("data set is ready", dataset_id=row.id, images=info.num_images, classes=len(info.classes))


def _refuse(db: Database, settings: Settings, row: Dataset, problems: Problems) -> None:
    with db.write() as s:
        datasets.refuse(s, row.id, row.attempt, problems)
    drop(settings, row.tenant, row.id)
    log.info("data set is refused", dataset_id=row.id, problems=len(problems))


def _said(row: Dataset, folder: Path, stop: threading.Event) -> Generator[Mapping[str, Any]]:
    """What the process says, line by line, until it ends, is silent for too long, or `stop` is set."""
    side = [] if row.asked_side is None else [str(row.asked_side)]
    child = _start("unpack", str(folder / UPLOAD), str(folder / str(row.attempt)), row.name, *side)
    heard = [time.monotonic()]
    watched = threading.Thread(target=_watch, args=(child, heard, stop), daemon=True)
    watched.start()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            heard[0] = time.monotonic()
            yield json.loads(line)
    finally:
        process.end(child, 0)


def _watch(child: subprocess.Popen[bytes], heard: list[float], stop: threading.Event) -> None:
    while child.poll() is None:
        if stop.wait(0.5) or time.monotonic() - heard[0] > _LONGEST_SILENCE_SECONDS:
            process.kill(child)
            return


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    passed = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith(("LC_", "PYTHON"))}
    argv = [sys.executable, "-m", _MODULE, *arguments]
    return process.spawn(argv, env={**passed, **_ONE_THREAD}, stdout=subprocess.PIPE)


def _tidy(folder: Path, keep: str) -> None:
    (folder / UPLOAD).unlink(missing_ok=True)
    for other in folder.iterdir():
        if other.name != keep:
            shutil.rmtree(other, ignore_errors=True)


def _touched(folder: Path) -> float:
    """When something was last written in it."""
    try:
        return max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    except FileNotFoundError:  # it is being removed
        return time.time()


def _lost(why: str) -> dict[str, Any]:
    detail = f"The images could not be looked at to the end. {why} Bring fewer or smaller ones."
    return {"file": None, "code": "validation-failed", "detail": detail}
