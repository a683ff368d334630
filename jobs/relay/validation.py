"""Validation of uploads: a thread of the relay. A process with limited resources checks and unpacks each archive."""

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
from jobs.uploads import Problems, how_it_ended, start_limited

log = structlog.get_logger("gantry.uploads")

_LEASE_SECONDS: Final = 60.0
_LONGEST_SILENCE_SECONDS: Final = 120.0
_END_SECONDS: Final = 30.0
_MOST_ATTEMPTS: Final = 5

_ARCHIVE_GONE: Final = {
    "file": None,
    "code": "validation-failed",
    "detail": "The uploaded archive no longer exists. Upload it again.",
}


class UploadValidator(threading.Thread):
    """A thread that validates uploads one after the other, until `stop` is set."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        super().__init__(name="gantry-uploads", daemon=True)
        self._settings, self._stop_requested = settings, stop

    def run(self) -> None:
        """Validate uploads until `stop` is set. An error is logged and does not end the thread."""
        db = Database(self._settings.database)
        while not self._stop_requested.is_set():
            try:
                busy = validate_one(db, self._settings, self._stop_requested)
            except (UnavailableError, OSError) as error:
                log.warning("the database or disk failed; trying again", reason=str(error))
                busy = False
            except Exception:
                # Nothing else watches this thread: an unexpected error must not end it silently.
                log.exception("the validation of an upload failed")
                busy = False
            if not busy:
                self._stop_requested.wait(max(1.0, self._settings.poll_seconds))
        db.dispose()


def validate_one(db: Database, settings: Settings, stop: threading.Event) -> bool:
    """Check and unpack the oldest waiting upload and record the result. Return whether there was one.

    Raises `UnavailableError`. The attempt is then repeated after its lease has expired.
    """
    with db.read() as s:
        waiting = datasets.oldest_waiting(s)
    if waiting is None:
        return False
    with db.write() as s:
        row = datasets.claim(s, waiting, _LEASE_SECONDS)
    if row is None:
        return True
    log.info("validating a data set", dataset_id=row.id, attempt=row.attempt)
    files = open_storage(settings).datasets(row.tenant)
    try:
        _validate(db, files, row, stop)
    except FencedError:
        log.info("the data set was deleted, or another relay validates it", dataset_id=row.id)
        with db.read() as s:
            known = row.id in datasets.ids_with_files(s)
        if not known:
            files.delete_prefix(row.id)
    return True


def _validate(db: Database, files: Storage, row: Dataset, stop: threading.Event) -> None:
    if row.attempt > _MOST_ATTEMPTS:
        _fail(db, files, row, [_unfinished("Five attempts were made, and each was interrupted.")])
        return
    images = keys.images(row.id, row.attempt)
    try:
        with files.local_path(keys.upload(row.id)) as archive, files.scratch_folder(images) as folder:
            result, problems, ended = _unpack(db, row, archive, folder, stop)
            if result is not None:
                files.put_folder(images, folder)
    except ArtifactLostError:
        result, problems, ended = None, [_ARCHIVE_GONE], ""
    if stop.is_set() and result is None and not problems:
        # End the lease, so that the next relay can begin at once.
        with db.write() as s:
            datasets.record_progress(s, row.id, row.attempt, 0)
        return
    if result is None:
        _fail(db, files, row, problems or [_unfinished(ended)])
        return
    info = DatasetInfo.model_validate(result["info"])
    preparation = {**result["preparation"], "notes": result["notes"]}
    with db.write() as s:
        datasets.mark_ready(s, row.id, row.attempt, info, int(result["held_out"]), preparation)
    _delete_leftovers(files, row)
    log.info("the data set is ready", dataset_id=row.id, images=info.num_images, classes=len(info.classes))


def _unpack(
    db: Database, row: Dataset, archive: Path, folder: Path, stop: threading.Event
) -> tuple[dict[str, Any] | None, Problems, str]:
    """Return the result of the process, None where it made nothing, the problems that it found, and how it ended."""
    result: dict[str, Any] | None = None
    problems: Problems = []
    ended, progress = "", ""
    with closing(_messages(row, archive, folder, stop)) as messages:
        for message in messages:
            if "found" in message:
                result = message["found"]
            elif "refused" in message:
                problems = list(message["refused"])
            elif "ended" in message:
                ended = ended or message["ended"]
            else:
                if (step := message.get("progress")) is not None:
                    progress = f" It was {step['phase']} image {step['done']:,} of {step['total']:,}."
                with db.write() as s:
                    datasets.record_progress(s, row.id, row.attempt, _LEASE_SECONDS, **message)
    return result, problems, ended + progress


def _fail(db: Database, files: Storage, row: Dataset, problems: Problems) -> None:
    with db.write() as s:
        datasets.mark_failed(s, row.id, row.attempt, problems)
    files.delete_prefix(row.id)
    log.info("the upload was refused", dataset_id=row.id, problems=len(problems))


def _messages(row: Dataset, archive: Path, folder: Path, stop: threading.Event) -> Generator[Mapping[str, Any]]:
    """Yield each message of the process until it ends, is silent for too long, or `stop` is set.

    The last one is {"ended": ...}, a sentence about its end.
    """
    side = [] if row.asked_side is None else [str(row.asked_side)]
    child = start_limited("unpack", str(archive), str(folder), row.name, *side)
    watchdog = _Watchdog(child, stop)
    watchdog.start()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            watchdog.last_output = time.monotonic()
            if line.endswith(b"\n"):  # not the rest of a line that the process could not finish
                yield json.loads(line)
        # Its output may be at its end a moment before the process is.
        code = child.wait(timeout=_END_SECONDS)
        yield {"ended": watchdog.reason or how_it_ended(code)}
    finally:
        process.end(child, 0)


class _Watchdog(threading.Thread):
    """Kills a process that is silent for too long, or that is not needed any more."""

    def __init__(self, child: subprocess.Popen[bytes], stop: threading.Event) -> None:
        super().__init__(name="gantry-upload-watchdog", daemon=True)
        self._child, self._stop_requested = child, stop
        self.last_output = time.monotonic()
        self.reason = ""
        """Why the process was killed, as a sentence."""

    def run(self) -> None:
        while self._child.poll() is None:
            if self._stop_requested.wait(0.5):
                self.reason = "The service was stopped."
            elif time.monotonic() - self.last_output > _LONGEST_SILENCE_SECONDS:
                self.reason = f"The process did nothing for {_LONGEST_SILENCE_SECONDS:g} s and was ended."
            if self.reason:
                process.kill(self._child)
                return


def _delete_leftovers(files: Storage, row: Dataset) -> None:
    """Delete the archive, and what earlier attempts have left."""
    files.delete(keys.upload(row.id))
    files.sweep_unfinished(row.id)
    for attempt in range(1, row.attempt):
        files.delete_prefix(keys.images(row.id, attempt))


def _unfinished(why: str) -> dict[str, Any]:
    detail = (
        f"The check of the images did not finish. {why} Upload the images again; if it repeats, in smaller parts."
    )
    return {"file": None, "code": "validation-failed", "detail": detail}
