"""A data set on its way in: its process is limited, told to stop, killed, deleted under, and nothing is left over."""

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


def brought(db: Database, settings: Settings, name: str = "mine", content: bytes | None = None) -> str:
    """A data set that is to be validated; its id."""
    dataset_id = new_id("ds")
    folder = datasets_folder(settings) / dataset_id
    folder.mkdir(parents=True)
    (folder / UPLOAD).write_bytes(zipped(files("bag", "shoe", size=(20, 20))) if content is None else content)
    with db.write() as s:
        datasets.create_upload(s, dataset_id, name, None)
    return dataset_id


def validated(db: Database, settings: Settings) -> bool:
    return validate_one(db, settings, threading.Event())


def of(db: Database, name: str = "mine") -> Dataset:
    with db.read() as s:
        return datasets.get(s, name)


def test_it_is_unpacked_and_ready_on_both_databases(db: Database, settings: Settings) -> None:
    dataset_id = brought(db, settings)
    assert validated(db, settings) and not validated(db, settings)
    row = of(db)
    assert (row.status, row.num_images, row.num_held_out, row.lease_until) == ("ready", 72, 8, None)
    assert row.preparation is not None and row.preparation["side"] == 20 and row.progress is None
    assert sorted(path.name for path in (datasets_folder(settings) / dataset_id).iterdir()) == ["1"]
    assert open_storage(settings).datasets(DEFAULT_TENANT).exists(f"{dataset_id}/1/about.json")


def test_a_process_that_dies_is_a_refusal(db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    brought(db, settings)
    monkeypatch.setattr(uploads, "_MODULE", "jobs.ids")  # which says nothing and ends
    assert validated(db, settings)
    row = of(db)
    assert row.status == "failed" and row.problems[0]["code"] == "validation-failed"
    assert list(datasets_folder(settings).iterdir()) == []


def test_a_process_that_is_silent_is_ended(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stuck.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(uploads, "_MODULE", "stuck")
    monkeypatch.setattr(validation, "_LONGEST_SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(uploads, "_INSPECT_SECONDS", 0.2)
    brought(db, settings)
    assert validated(db, settings) and of(db).status == "failed"
    assert uploads.inspect(tmp_path / "a.zip")[0]["code"] == "unsafe-archive"


def test_who_waits_to_be_judged_leaves_threads_for_everybody_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go_on = threading.Event()

    def heard(*_: str) -> bytes:
        assert go_on.wait(120)
        return b'{"found": {}}'

    monkeypatch.setattr(uploads, "_output_of", heard)
    with ThreadPoolExecutor(40) as threads:
        asked = [threads.submit(uploads.inspect, tmp_path / "a.zip") for _ in range(40)]
        try:
            refused = list(islice(as_completed(asked, timeout=60), 32))
            assert all(isinstance(one.exception(), UploadsBusyError) for one in refused)
        finally:
            go_on.set()
        assert [one.result(timeout=60) for one in asked if one not in refused] == [[]] * 8


def test_one_that_was_cut_off_too_often_is_refused(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "_MOST_ATTEMPTS", 0)
    brought(db, settings)
    assert validated(db, settings) and "Five attempts" in of(db).problems[0]["detail"]


def test_a_relay_that_stops_leaves_it_to_the_next(db: Database, settings: Settings) -> None:
    brought(db, settings)
    stop = threading.Event()
    stop.set()
    # Told to stop before its process could say anything; but a quick one may have ended by then.
    validate_one(db, settings, stop)
    time.sleep(0.05)
    while validated(db, settings):
        pass
    assert of(db).status == "ready"


def test_deleted_while_it_is_validated_nothing_is_left(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = brought(db, settings)
    note = datasets.record_progress

    def deleted(s: Session, *args: Any, **told: Any) -> None:
        datasets.delete(s, dataset_id)
        s.commit()
        note(s, *args, **told)

    monkeypatch.setattr(datasets, "record_progress", deleted)
    assert validated(db, settings)
    with db.read() as s:
        assert "mine" not in [row.name for row in datasets.page(s, limit=50).data]
    assert not (datasets_folder(settings) / dataset_id).exists()


def test_orphans_go_and_what_is_on_record_stays(db: Database, settings: Settings) -> None:
    kept = brought(db, settings)
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
    dataset_id = brought(db, settings)
    with db.write() as s:
        assert datasets.claim(s, dataset_id, -1) is not None
        assert datasets.claim(s, dataset_id, 60) is not None
    with pytest.raises(FencedError), db.write() as s:
        datasets.mark_failed(s, dataset_id, 1, [])
    assert of(db).status == "validating"


def test_a_job_that_is_being_stored_holds_its_data_set(db: Database, settings: Settings) -> None:
    brought(db, settings)
    validated(db, settings)
    with ThreadPoolExecutor(1) as threads:
        with db.write() as s:
            row = datasets.lock_ready(s, "mine")
            deleted = threads.submit(_deleted, settings)
            time.sleep(0.3)
            assert not deleted.done()
            jobs.create(s, resolve({"dataset": "mine", "batch_size": 8}), datasets.info(row))
        with pytest.raises(DatasetInUseError):
            deleted.result(timeout=60)


def _deleted(settings: Settings) -> str:
    # It waits for as long as it has to: a machine that stands still is no reason to give up.
    other = Database(settings.database, statement_timeout=False)
    try:
        with other.write() as s:
            return datasets.delete(s, "mine")
    finally:
        other.dispose()


def test_a_lease_of_a_clock_that_was_set_back_is_over(db: Database, settings: Settings) -> None:
    dataset_id = brought(db, settings)
    with db.write() as s:
        assert datasets.claim(s, dataset_id, 100_000) is not None
    assert validated(db, settings) and of(db).attempt == 2


def test_the_record_refuses_what_cannot_be(db: Database, settings: Settings) -> None:
    brought(db, settings)
    with pytest.raises(DatasetExistsError), db.write() as s:
        datasets.create_upload(s, new_id("ds"), "mine", None)
    with pytest.raises(DatasetNotReadyError, match="being validated"), db.write() as s:
        datasets.lock_ready(s, "mine")
    validated(db, settings)
    job = submit(db, dataset="mine", batch_size=8)
    with pytest.raises(DatasetInUseError, match=job.id), db.write() as s:
        datasets.delete(s, "mine")
