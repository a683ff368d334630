"""Tests of the validation of uploads: processes that die, hang or are stopped; deletions; orphans."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from gan.spec import resolve
from jobs import uploads
from jobs.db import Database, Session
from jobs.errors import DatasetExistsError, DatasetInUseError, DatasetNotReadyError, FencedError, UploadsBusyError
from jobs.ids import new_id
from jobs.models import DEFAULT_TENANT, Dataset
from jobs.relay import validation
from jobs.relay.validation import validate_one
from jobs.runtime.settings import Settings
from jobs.storage import open_storage
from jobs.store import datasets, jobs
from tests.gan.uploads.zips import files, zipped
from tests.jobs.helpers import submit

UPLOAD = "upload.zip"


def datasets_folder(settings: Settings) -> Path:
    """Return the folder of the default tenant's data sets."""
    return settings.data_dir / "datasets" / DEFAULT_TENANT


def upload(db: Database, settings: Settings, name: str = "mine", content: bytes | None = None) -> str:
    """Store an archive and a data set that waits for validation; return its id."""
    dataset_id = new_id("ds")
    folder = datasets_folder(settings) / dataset_id
    folder.mkdir(parents=True)
    (folder / UPLOAD).write_bytes(zipped(files("bag", "shoe", size=(20, 20))) if content is None else content)
    with db.write() as s:
        datasets.create_upload(s, dataset_id, name, None)
    return dataset_id


def validate(db: Database, settings: Settings) -> bool:
    return validate_one(db, settings, threading.Event())


def dataset(db: Database, name: str = "mine") -> Dataset:
    with db.read() as s:
        return datasets.get(s, name)


def test_an_upload_is_unpacked_and_ready(db: Database, settings: Settings) -> None:
    dataset_id = upload(db, settings)
    assert validate(db, settings) and not validate(db, settings)
    row = dataset(db)
    assert (row.status, row.num_images, row.num_held_out, row.lease_until) == ("ready", 72, 8, None)
    assert row.preparation is not None and row.preparation["side"] == 20 and row.progress is None
    assert sorted(path.name for path in (datasets_folder(settings) / dataset_id).iterdir()) == ["1"]
    assert open_storage(settings).datasets(DEFAULT_TENANT).exists(f"{dataset_id}/1/about.json")


def test_an_upload_fails_when_its_process_dies(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(db, settings)
    monkeypatch.setattr(uploads, "_MODULE", "jobs.ids")  # it prints nothing and exits
    assert validate(db, settings)
    row = dataset(db)
    assert row.status == "failed" and row.problems[0]["code"] == "validation-failed"
    assert "with exit code 0" in row.problems[0]["detail"]
    assert list(datasets_folder(settings).iterdir()) == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "killed (SIGKILL), as the system does when memory",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV), probably over the file"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "more processor time than the limit"),
        ("import sys; sys.exit(7)", "an error of its own, with exit code 7"),
        ('print(\'{"ended": "It needed more memory."}\'); raise SystemExit(1)', "It needed more memory."),
        ("print('{\"fou', end='')", "exit code 0"),
    ],
)
def test_a_process_that_dies_says_why(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, words: str
) -> None:
    step = '{"progress": {"phase": "preparing", "done": 3, "total": 80}}'
    (tmp_path / "dying.py").write_text(f"print({step!r}, flush=True)\n{program}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(uploads, "_MODULE", "dying")
    upload(db, settings)
    assert validate(db, settings)
    detail = dataset(db).problems[0]["detail"]
    assert words in detail and "It was preparing image 3 of 80." in detail
    assert words in uploads.inspect(tmp_path / "a.zip")[0]["detail"]


def test_the_notes_of_a_data_set_are_stored(db: Database, settings: Settings) -> None:
    upload(db, settings, content=zipped({**files("bag", "shoe", size=(20, 20)), "bag/._0000.png": b"x"}))
    assert validate(db, settings)
    preparation = dataset(db).preparation
    assert preparation is not None and "Left out: 1 file" in preparation["notes"][0] and preparation["side"] == 20


def test_a_silent_process_is_killed(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stuck.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(uploads, "_MODULE", "stuck")
    monkeypatch.setattr(validation, "_LONGEST_SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(uploads, "_INSPECT_SECONDS", 0.2)
    upload(db, settings)
    assert validate(db, settings) and "did nothing for 0.2 s" in dataset(db).problems[0]["detail"]
    (problem,) = uploads.inspect(tmp_path / "a.zip")
    assert problem["code"] == "unsafe-archive" and "longer than 0.2 s" in problem["detail"]


def test_inspections_that_wait_leave_threads_for_other_requests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go_on = threading.Event()

    def output(*_: str) -> tuple[bytes, str]:
        assert go_on.wait(120)
        return b'{"found": {}}\n', ""

    monkeypatch.setattr(uploads, "_output_of", output)
    with ThreadPoolExecutor(40) as threads:
        inspections = [threads.submit(uploads.inspect, tmp_path / "a.zip") for _ in range(40)]
        try:
            refused = list(islice(as_completed(inspections, timeout=60), 32))
            assert all(isinstance(one.exception(), UploadsBusyError) for one in refused)
        finally:
            go_on.set()
        assert [one.result(timeout=60) for one in inspections if one not in refused] == [[]] * 8


def test_an_upload_fails_after_too_many_interrupted_attempts(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "_MOST_ATTEMPTS", 0)
    upload(db, settings)
    assert validate(db, settings) and "Five attempts" in dataset(db).problems[0]["detail"]


def test_a_stopping_relay_leaves_the_upload_to_the_next(db: Database, settings: Settings) -> None:
    upload(db, settings)
    stop = threading.Event()
    stop.set()
    # The stop comes before the process can print anything, unless the process is very quick.
    validate_one(db, settings, stop)
    time.sleep(0.05)
    while validate(db, settings):
        pass
    assert dataset(db).status == "ready"


def test_nothing_remains_of_an_upload_deleted_during_validation(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = upload(db, settings)
    record_progress = datasets.record_progress

    def delete_first(s: Session, *args: Any, **values: Any) -> None:
        datasets.delete(s, dataset_id)
        s.commit()
        record_progress(s, *args, **values)

    monkeypatch.setattr(datasets, "record_progress", delete_first)
    assert validate(db, settings)
    with db.read() as s:
        assert "mine" not in [row.name for row in datasets.page(s, limit=50).data]
    assert not (datasets_folder(settings) / dataset_id).exists()


def test_orphans_are_deleted_and_recorded_folders_kept(db: Database, settings: Settings) -> None:
    kept = upload(db, settings)
    orphan, young = (
        datasets_folder(settings) / new_id("ds"),
        datasets_folder(settings) / new_id("ds"),
    )
    for folder in (orphan, young):
        folder.mkdir()
        (folder / UPLOAD).write_bytes(b"x")
    for path in (orphan, orphan / UPLOAD, datasets_folder(settings) / kept):
        os.utime(path, (1, 1))
    assert uploads.delete_orphans(db, open_storage(settings), 3600) == [orphan.name]
    assert sorted(p.name for p in datasets_folder(settings).iterdir()) == sorted([kept, young.name])


def test_a_stale_attempt_writes_nothing(db: Database, settings: Settings) -> None:
    dataset_id = upload(db, settings)
    with db.write() as s:
        assert datasets.claim(s, dataset_id, -1) is not None
        assert datasets.claim(s, dataset_id, 60) is not None
    with pytest.raises(FencedError), db.write() as s:
        datasets.mark_failed(s, dataset_id, 1, [])
    assert dataset(db).status == "validating"


def test_a_job_being_stored_locks_its_data_set(db: Database, settings: Settings) -> None:
    upload(db, settings)
    validate(db, settings)
    with ThreadPoolExecutor(1) as threads:
        with db.write() as s:
            row = datasets.lock_ready(s, "mine")
            deletion = threads.submit(_delete, settings)
            time.sleep(0.3)
            assert not deletion.done()
            jobs.create(s, resolve({"dataset": "mine", "batch_size": 8}), datasets.info(row))
        with pytest.raises(DatasetInUseError):
            deletion.result(timeout=60)


def _delete(settings: Settings) -> str:
    # Without a timeout: on a busy machine the wait may be longer than the limit of a statement.
    other = Database(settings.database, statement_timeout=False)
    try:
        with other.write() as s:
            return datasets.delete(s, "mine")
    finally:
        other.dispose()


def test_a_lease_from_before_the_clock_was_set_back_has_expired(db: Database, settings: Settings) -> None:
    dataset_id = upload(db, settings)
    with db.write() as s:
        assert datasets.claim(s, dataset_id, 100_000) is not None
    assert validate(db, settings) and dataset(db).attempt == 2


def test_invalid_operations_on_a_data_set_are_refused(db: Database, settings: Settings) -> None:
    upload(db, settings)
    with pytest.raises(DatasetExistsError), db.write() as s:
        datasets.create_upload(s, new_id("ds"), "mine", None)
    with pytest.raises(DatasetNotReadyError, match="being validated"), db.write() as s:
        datasets.lock_ready(s, "mine")
    validate(db, settings)
    job = submit(db, dataset="mine", batch_size=8)
    with pytest.raises(DatasetInUseError, match=job.id), db.write() as s:
        datasets.delete(s, "mine")
