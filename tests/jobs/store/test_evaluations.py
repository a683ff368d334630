"""Tests of evaluations and best checkpoints, and of what counts after a lost attempt."""

from __future__ import annotations

import math

import pytest
from sqlalchemy.exc import IntegrityError

from jobs import leases
from jobs.db import Database
from jobs.errors import BadCursorError, NoCheckpointError
from jobs.models import Checkpoint
from jobs.storage import StoredFile
from jobs.store import checkpoints, datasets, evaluations, events, jobs, metrics
from tests.jobs.helpers import submit

FILE = StoredFile("job_x/f", 3, "0" * 64)


def _claim(db: Database) -> str:
    submit(db)
    with db.write() as s:
        job = leases.claim(s, "w1", "cpu", 0, 30)
    assert job is not None
    return job.id


def _resume(db: Database, job_id: str, attempt: int, step: int) -> None:
    with db.write() as s:
        leases.release(s, job_id, attempt, crash=False, reason={"code": "drained", "message": ""})
        assert leases.claim(s, "w2", "cpu", 0, 30) is not None
        leases.record_resume(s, job_id, attempt + 1, step)


def _evaluate(db: Database, job_id: str, attempt: int, step: int, fcd: float | None, best: bool = False) -> None:
    with db.write() as s:
        details = {"provenance": {"by": attempt}}
        evaluations.register(s, job_id, attempt, step, {"fcd": fcd, "recall": 0.5}, details, best_so_far=best)


def _steps(db: Database, job_id: str) -> list[tuple[int, int]]:
    with db.read() as s:
        return [(row.step, row.attempt) for row in evaluations.page(s, job_id, limit=50).data]


def _save(db: Database, job_id: str, step: int, *, best: bool, attempt: int = 1) -> Checkpoint:
    with db.write() as s:
        return checkpoints.register(s, job_id, attempt, step, {}, FILE, FILE, best=best)


def _best_checkpoint(db: Database, job_id: str) -> str | None:
    with db.read() as s:
        return jobs.fetch_details(s, [job_id])[job_id].best


def test_an_evaluation_is_a_row_an_event_and_a_point_of_each_curve(db: Database) -> None:
    job_id = _claim(db)
    for _ in range(2):  # a writer that does not know whether it committed writes again
        _evaluate(db, job_id, 1, 300, 4.5, best=True)
    _evaluate(db, job_id, 1, 600, None)
    with db.read() as s:
        newest, oldest = evaluations.page(s, job_id, limit=50).data
        curve = metrics.series(s, job_id, ["fcd"])["fcd"]
        recorded = [e.data for e in events.page(s, job_id, 0, 50) if e.type == "evaluation.completed"]
        latest = evaluations.latest(s, job_id)
    assert oldest.metrics == {"fcd": 4.5, "recall": 0.5} and oldest.details == {"provenance": {"by": 1}}
    assert curve.steps.tolist() == [300, 600] and curve.values[0] == 4.5 and math.isnan(curve.values[1])
    assert recorded[0] == {"step": 300, "metrics": {"fcd": 4.5, "recall": 0.5}, "is_best": True}
    assert [e["step"] for e in recorded] == [300, 600] and latest is not None and latest.step == newest.step == 600


def test_evaluations_past_the_start_of_a_successor_do_not_count(db: Database) -> None:
    job_id = _claim(db)
    for step in (100, 200, 300):
        _evaluate(db, job_id, 1, step, 500.0 / step, best=True)
    _resume(db, job_id, 1, step=250)
    with db.read() as s:
        assert evaluations.best(s, job_id) == (200, 1), "the best one, of step 300, is superseded"
    _evaluate(db, job_id, 2, 300, 9.0)
    assert _steps(db, job_id) == [(300, 2), (200, 1), (100, 1)]
    with db.read() as s:
        assert metrics.series(s, job_id, ["fcd"])["fcd"].values.tolist() == [5.0, 2.5, 9.0]
        assert evaluations.best(s, job_id) == (200, 1)
    _resume(db, job_id, 2, step=0)
    _evaluate(db, job_id, 3, 0, 60.0)
    assert _steps(db, job_id) == [(0, 3)]
    with db.read() as s:
        assert evaluations.best(s, job_id) is None
    _resume(db, job_id, 3, step=0)
    _evaluate(db, job_id, 4, 0, 60.0)
    assert _steps(db, job_id) == [(0, 4)], "an attempt from scratch measures it again"


def test_before_the_first_evaluation_there_is_none(db: Database) -> None:
    job_id = _claim(db)
    with db.read() as s:
        assert evaluations.best(s, job_id) is None and evaluations.latest(s, job_id) is None
        assert evaluations.page(s, job_id, limit=5).data == []


def test_pages_are_newest_first_and_join(db: Database) -> None:
    job_id = _claim(db)
    for step in (1, 2, 3, 4, 5):
        _evaluate(db, job_id, 1, step, 1.0)
    seen: list[int] = []
    cursor = None
    with db.read() as s:
        while True:
            page = evaluations.page(s, job_id, limit=2, cursor=cursor)
            seen += [row.step for row in page.data]
            if (cursor := page.next_cursor) is None:
                break
        foreign = datasets.page(s, limit=1).next_cursor
        for bad in ("x", foreign):
            with pytest.raises(BadCursorError):
                evaluations.page(s, job_id, limit=2, cursor=bad)
    assert seen == [5, 4, 3, 2, 1]


def test_only_one_checkpoint_is_the_best_and_it_is_kept(db: Database) -> None:
    job_id = _claim(db)
    first, second = (_save(db, job_id, step, best=True) for step in (10, 20))
    for step in (30, 40):
        _save(db, job_id, step, best=False)
    assert _best_checkpoint(db, job_id) == second.id
    with db.write() as s:
        assert [row.id for row in checkpoints.retire(s, job_id, keep_last=1)][-1] == first.id
        assert checkpoints.choose(s, job_id, None).id == checkpoints.choose(s, job_id, "best").id == second.id
        data = [e.data for e in events.page(s, job_id, 0, 50) if e.type == "checkpoint.created"]
    assert [e["is_best"] for e in data] == [True, True, False, False]


def test_the_best_checkpoint_can_be_moved_or_cleared(db: Database) -> None:
    job_id = _claim(db)
    first, second = _save(db, job_id, 10, best=False), _save(db, job_id, 20, best=True)
    for step, found in ((10, first.id), (10, first.id), (20, second.id), (15, None), (10, first.id), (None, None)):
        with db.write() as s:
            checkpoints.mark_best(s, job_id, step)
        assert _best_checkpoint(db, job_id) == found, step


def test_a_damaged_checkpoint_is_no_longer_the_best(db: Database) -> None:
    job_id = _claim(db)
    _save(db, job_id, 10, best=False)
    damaged = _save(db, job_id, 20, best=True)
    with db.write() as s:
        checkpoints.mark_bad(s, damaged.id, "sha256 differs")
        with pytest.raises(NoCheckpointError):
            checkpoints.choose(s, job_id, "best")
        assert checkpoints.mark_best(s, job_id, 20) is None
    again = _save(db, job_id, 20, best=True, attempt=2)
    assert _best_checkpoint(db, job_id) == again.id


def test_the_database_refuses_two_best_checkpoints(db: Database) -> None:
    job_id = _claim(db)
    _save(db, job_id, 10, best=True)
    other = _save(db, job_id, 20, best=False)
    with pytest.raises(IntegrityError), db.write() as s:
        s.get_one(Checkpoint, other.id).is_best = True
