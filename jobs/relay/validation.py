"""Validation of uploads: a thread of the relay that has each archive checked and unpacked by a limited process."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import structlog

from gan.spec import DatasetInfo
from jobs.db import Database
from jobs.errors import ArtifactLostError, FencedError, UnavailableError
from jobs.models import Dataset
from jobs.runtime import process
from jobs.runtime.settings import Settings
from jobs.storage import Storage, keys, open_storage
from jobs.store import datasets
from jobs.uploads import Problems, start_limited

log = structlog.get_logger("gantry.uploads")

_LEASE_SECONDS: Final = 60.0

_LONGEST_SILENCE_SECONDS: Final = 120.0

_MOST_ATTEMPTS: Final = 5

_ARCHIVE_GONE: Final = {
    "file": None,
    "code": "validation-failed",
    "detail": "The uploaded archive is no longer in the store. Upload it again.",
}


class UploadValidator(threading.Thread):
    """Validates what was brought, one after the other, until it is told to stop."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        super().__init__(name="gantry-intake", daemon=True)
        self._settings, self._stop_asked = settings, stop

    def run(self) -> None:
        db = Database(self._settings.database)
        while not self._stop_asked.is_set():
            try:
                busy = validate_one(db, self._settings, self._stop_asked)
            except (UnavailableError, OSError) as error:
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

    Raises `UnavailableError`; the attempt is then repeated when its lease is over.
    """
    with db.read() as s:
        waiting = datasets.oldest_waiting(s)
    if waiting is None:
        return False
    with db.write() as s:
        row = datasets.claim(s, waiting, _LEASE_SECONDS)
    if row is None:
        return True
    log.info("data set is validated", dataset_id=row.id, attempt=row.attempt)
    files = open_storage(settings).datasets(row.tenant)
    try:
        _validate(db, files, row, stop)
    except FencedError:
        log.info("the data set is deleted, or another's to validate", dataset_id=row.id)
        with db.read() as s:
            known = row.id in datasets.ids_with_files(s)
        if not known:
            files.delete_prefix(row.id)
    return True


def _validate(db: Database, files: Storage, row: Dataset, stop: threading.Event) -> None:
    if row.attempt > _MOST_ATTEMPTS:
        _refuse(db, files, row, [_lost("It was begun five times, and each time it was cut off.")])
        return
    images = keys.images(row.id, row.attempt)
    try:
        with files.local_path(keys.upload(row.id)) as archive, files.scratch_folder(images) as folder:
            made, problems = _unpack(db, row, archive, folder, stop)
            if made is not None:
                files.put_folder(images, folder)
    except ArtifactLostError:
        made, problems = None, [_ARCHIVE_GONE]
    if stop.is_set() and made is None and not problems:
        # For the next relay, at once.
        with db.write() as s:
            datasets.record_progress(s, row.id, row.attempt, 0)
        return
    if made is None:
        _refuse(db, files, row, problems or [_lost("It took more memory, disk or time than it gets.")])
        return
    info = DatasetInfo.model_validate(made["info"])
    with db.write() as s:
        datasets.mark_ready(s, row.id, row.attempt, info, int(made["held_out"]))
    _tidy(files, row)
    log.info("data set is ready", dataset_id=row.id, images=info.num_images, classes=len(info.classes))


def _unpack(
    db: Database, row: Dataset, archive: Path, folder: Path, stop: threading.Event
) -> tuple[dict[str, Any] | None, Problems]:
    """Return what the process made of the archive, None where it made nothing, and the problems that it found."""
    made: dict[str, Any] | None = None
    problems: Problems = []
    with closing(_said(row, archive, folder, stop)) as said:
        for answer in said:
            if "found" in answer:
                made = answer["found"]
            elif "refused" in answer:
                problems = list(answer["refused"])
            else:
                with db.write() as s:
                    datasets.record_progress(s, row.id, row.attempt, _LEASE_SECONDS, **answer)
    return made, problems


def _refuse(db: Database, files: Storage, row: Dataset, problems: Problems) -> None:
    with db.write() as s:
        datasets.mark_failed(s, row.id, row.attempt, problems)
    files.delete_prefix(row.id)
    log.info("data set is refused", dataset_id=row.id, problems=len(problems))


def _said(row: Dataset, archive: Path, folder: Path, stop: threading.Event) -> Generator[Mapping[str, Any]]:
    """What the process says, line by line, until it ends, is silent for too long, or `stop` is set."""
    side = [] if row.asked_side is None else [str(row.asked_side)]
    child = start_limited("unpack", str(archive), str(folder), row.name, *side)
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


def _tidy(files: Storage, row: Dataset) -> None:
    """Delete the upload, and what earlier attempts to unpack it have left."""
    files.delete(keys.upload(row.id))
    files.sweep_unfinished(row.id)
    for attempt in range(1, row.attempt):
        files.delete_prefix(keys.images(row.id, attempt))


def _lost(why: str) -> dict[str, Any]:
    detail = f"The images could not be looked at to the end. {why} Bring fewer or smaller ones."
    return {"file": None, "code": "validation-failed", "detail": detail}
