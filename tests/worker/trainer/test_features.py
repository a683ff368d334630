"""The feature network of a data set that has none: trained once, with its progress on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gan.data import ImageDataset
from gan.spec.catalog import DatasetClass, DatasetInfo
from jobs import leases
from jobs.db import Database
from jobs.models import Job
from jobs.store import jobs
from tests.jobs.helpers import submit
from tests.worker.helpers import job_of, tiny
from worker.trainer.features import FeaturePreparation, StopRequestedError, feature_net
from worker.trainer.fenced_writer import FencedWriter


class ObservedPreparation(FeaturePreparation):
    """A preparation that also reads the job's row after each report."""

    def __init__(self, db: Database, job: Job, stop: bool = False) -> None:
        super().__init__(FencedWriter(db, job.id, job.attempt, 60), job, stop=lambda: stop)
        self._db = db
        self.seen: list[Job] = []

    def __call__(self, share: float) -> None:
        super().__call__(share)
        self.seen.append(job_of(self._db, self._job.id))


@pytest.fixture
def running(sqlite_db: Database) -> Job:
    """Return a job whose worker was lost once and that another worker runs."""
    submit(sqlite_db, **tiny())
    reason: dict[str, Any] = {"code": "worker_lost", "message": "It was lost."}
    with sqlite_db.write() as s:
        first = leases.claim(s, "w1", "cpu", 0, 60)
        assert first is not None
        leases.release(s, first.id, 1, crash=False, reason=reason)
        second = leases.claim(s, "w2", "cpu", 0, 60)
    assert second is not None
    return second


def small_dataset() -> ImageDataset:
    """Return 8 x 8 images of two classes, dark and bright; a network for them is trained in a second."""
    torch.set_num_threads(1)
    labels = torch.arange(60) % 2
    noise = torch.randint(0, 100, (60, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images = noise + 100 * labels.reshape(60, 1, 1, 1)
    classes = tuple(DatasetClass(id=i, label=name, count=30) for i, name in enumerate(("dark", "bright")))
    info = DatasetInfo(name="small_dataset", num_images=60, channels=1, height=8, width=8, classes=classes)
    return ImageDataset(info, images.to(torch.uint8), labels)


def test_the_preparation_is_recorded_and_its_result_is_cached(
    sqlite_db: Database, running: Job, tmp_path: Path
) -> None:
    first, second = ObservedPreparation(sqlite_db, running), ObservedPreparation(sqlite_db, running)
    made = feature_net(small_dataset(), tmp_path / "features", first)
    assert first.seen[0].status_reason is not None and first.seen[0].status_reason["code"] == "preparing"
    assert first.seen[0].progress_at is not None and running.progress_at is not None
    assert first.seen[0].progress_at > running.progress_at, "otherwise the attempt would count as stalled"
    after = job_of(sqlite_db, running.id).status_reason
    assert after == running.status_reason and after is not None and after["code"] == "worker_lost"
    assert feature_net(small_dataset(), tmp_path / "features", second).about == made.about and second.seen == []


def test_a_stop_during_the_preparation_caches_nothing(sqlite_db: Database, running: Job, tmp_path: Path) -> None:
    with pytest.raises(StopRequestedError):
        feature_net(small_dataset(), tmp_path / "features", ObservedPreparation(sqlite_db, running, stop=True))
    assert not (tmp_path / "features").exists()


def test_a_cancel_stops_the_preparation(sqlite_db: Database, running: Job, tmp_path: Path) -> None:
    with sqlite_db.write() as s:
        jobs.request_cancel(s, running.id)
    with pytest.raises(StopRequestedError):
        feature_net(small_dataset(), tmp_path / "features", ObservedPreparation(sqlite_db, running))
