"""A job on an uploaded data set: from the zip to the weights, with a real trainer."""

from __future__ import annotations

import threading

from jobs.db import Database
from jobs.ids import new_id
from jobs.models import DEFAULT_TENANT
from jobs.relay.validation import validate_one
from jobs.runtime.settings import Settings
from jobs.storage import keys, open_storage
from jobs.store import checkpoints, datasets, evaluations
from tests.gan.uploads.zips import files, zipped
from tests.jobs.helpers import submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import job_of, tiny, with_evaluations


def _upload(db: Database, settings: Settings, content: dict[str, bytes], side: int = 16) -> str:
    """Store a data set with that content, ready for training. Returns its id."""
    dataset_id = new_id("ds")
    open_storage(settings).datasets(DEFAULT_TENANT).put_bytes(keys.upload(dataset_id), zipped(content))
    with db.write() as s:
        datasets.create_upload(s, dataset_id, "mine", side)
    assert validate_one(db, settings, threading.Event())
    with db.read() as s:
        assert datasets.get(s, "mine").status == "ready"
    return dataset_id


def test_a_job_with_classes_is_trained_and_evaluated(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    _upload(sqlite_db, sqlite_settings, files("bag", "shoe"))
    job = submit(sqlite_db, **with_evaluations(dataset="mine", total_steps=40))
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert ended.status == "succeeded", ended.error
    with sqlite_db.read() as s:
        assert checkpoints.newest_ready(s, job.id) is not None
        found = evaluations.latest(s, job.id)
    assert found is not None and found.details["provenance"]["feature_net"]
    assert len(list(sqlite_settings.features_dir.glob("*.safetensors"))) == 1, (
        "the feature network, trained on first use"
    )


def test_a_job_without_labels_is_trained(sqlite_settings: Settings, sqlite_db: Database, run: RunJob) -> None:
    _upload(sqlite_db, sqlite_settings, files(each=70))
    job = submit(sqlite_db, **tiny(dataset="mine"))
    run(sqlite_settings).result()
    assert job_of(sqlite_db, job.id).status == "succeeded"


def test_changed_files_of_a_data_set_fail_the_job(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    dataset_id = _upload(sqlite_db, sqlite_settings, files(each=70))
    images = sqlite_settings.data_dir / "datasets" / DEFAULT_TENANT / dataset_id / "1" / "images.bin"
    images.write_bytes(bytes(images.stat().st_size))
    job = submit(sqlite_db, **tiny(dataset="mine"))
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert ended.status == "failed" and ended.error is not None and ended.error["code"] == "dataset_invalid"
