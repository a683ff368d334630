"""Wrong clocks: a worker's clock is never used, and a database's clock that was set back delays nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import update

from jobs import broker, clock, leases
from jobs.db import Database
from jobs.models import Attempt, Job, Outbox
from jobs.relay import sweeper
from jobs.runtime.process import end, spawn
from jobs.runtime.settings import Settings
from jobs.store import outbox, workers
from tests.faults.attempts import check_same_as_undisturbed, claim, expire
from tests.jobs.helpers import submit
from tests.worker.helpers import events_of, job_of, tiny, until

_HOURS: Final = 3600.0
_SHIFTED: Final = """
import time
shifted = {{name: getattr(time, name) for name in ("time", "time_ns")}}
time.time = lambda: shifted["time"]() + {seconds}
time.time_ns = lambda: shifted["time_ns"]() + {seconds} * 1_000_000_000
"""
BODY: Final = tiny(total_steps=500, checkpoints={"every_steps": 200})


@pytest.mark.postgres
@pytest.mark.parametrize("settings", ["postgres"], indirect=True)
def test_workers_with_wrong_clocks_run_jobs_as_usual(settings: Settings, db: Database, tmp_path: Path) -> None:
    """Run two jobs, by a worker whose clock is two hours ahead and one whose clock is two hours behind."""
    # So long that a pause of the machine costs no attempt.
    settings = settings.model_copy(update={"lease_seconds": 60})
    began = _now(db)
    submitted = [submit(db, **BODY).id for _ in range(2)]
    with _process("jobs.relay", settings), _process("worker", settings, 2), _process("worker", settings, -2):
        until(lambda: all(job_of(db, job_id).status == "succeeded" for job_id in submitted), seconds=150)
    for job_id in submitted:
        ended = job_of(db, job_id)
        assert ended.attempt == 1, "no worker was taken for lost"
        with db.read() as s:
            ran = s.get_one(Attempt, (job_id, 1))
        on_record = [ended.created_at, ended.started_at, ran.started_at, ran.ended_at, ended.finished_at]
        times = [began, *(moment or 0.0 for moment in on_record), _now(db)]
        assert times == sorted(times), "all times are by the database's clock"
        event_times = [event.at for event in events_of(db, job_id)]
        assert event_times == sorted(event_times) and began <= event_times[0] <= event_times[-1] <= times[-1]
        check_same_as_undisturbed(db, job_id, BODY)


@contextmanager
def _process(module: str, settings: Settings, hours: int = 0) -> Iterator[None]:
    """Run `python -m module` with its clock, and that of its children, set forward by `hours`."""
    folder = settings.data_dir.parent / f"{module}{hours:+}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SHIFTED.format(seconds=hours * 3600))
    environment = {**os.environ, **settings.environment(), "PYTHONPATH": str(folder)}
    with (folder / "log").open("wb") as log:
        process = spawn([sys.executable, "-m", module], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        end(process, 20)


def test_the_shift_changes_the_time_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SHIFTED.format(seconds=7200))
    with (tmp_path / "out").open("wb") as out:
        argv = [sys.executable, "-c", "import time; print(time.time(), time.time_ns())"]
        spawn(argv, env={"PYTHONPATH": str(tmp_path)}, stdout=out).wait()
    seconds, nanoseconds = map(float, (tmp_path / "out").read_text().split())
    assert seconds - time.time() == pytest.approx(7200, abs=60) == nanoseconds / 1e9 - time.time()


def test_a_lease_renewed_in_the_future_has_expired(db: Database) -> None:
    """Reap a lease that was renewed before the clock was set back; waiting for its end would take hours."""
    job = submit(db)
    claim(db)
    later = _now(db) + 2 * _HOURS
    _set(db, job.id, heartbeat_at=later, lease_until=later + 60)
    with db.write() as s:
        assert leases.reap(s) == [job.id]
    assert job_of(db, job.id).status == "queued"


def test_a_lease_expires_only_after_its_end(db: Database) -> None:
    claimed = submit(db)
    claim(db)
    with db.write() as s:
        assert leases.reap(s) == []
    expire(db, claimed.id)
    with db.write() as s:
        assert leases.reap(s) == [claimed.id]


def test_a_backoff_that_would_last_for_hours_has_ended(db: Database) -> None:
    job = submit(db)
    _set(db, job.id, not_before=_now(db) + 2 * _HOURS)
    with db.write() as s:
        found = leases.claim(s, "a worker", "cpu", 0, 60)
    assert found is not None and found.id == job.id


def test_a_hint_due_in_hours_is_sent_now(db: Database) -> None:
    submit(db)
    with db.write() as s:
        s.execute(update(Outbox).values(send_after=_now(db) + 2 * _HOURS))
        assert len(outbox.fetch_due(s, 10)) == 1


def test_a_hint_sent_in_the_future_is_sent_again(db: Database, settings: Settings) -> None:
    job = submit(db)
    app = broker.make_app(settings)
    assert broker.relay_once(db, app) == 1
    _set(db, job.id, published_at=_now(db) + 2 * _HOURS)
    with db.write() as s:
        workers.register(s, "an idle worker", "here", [])
    sweeper.sweep_once(db, settings)
    assert broker.relay_once(db, app) == 1


def _set(db: Database, job_id: str, **values: Any) -> None:
    with db.write() as s:
        s.execute(update(Job).where(Job.id == job_id).values(values))


def _now(db: Database) -> float:
    with db.read() as s:
        return clock.read(s)
