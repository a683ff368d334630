"""Tests of curves in blocks: merged as they grow, written in one statement, summarized without reading values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event, func, select, update

from jobs import leases
from jobs.db import Database
from jobs.models import MetricBlock
from jobs.store import attempts, metrics
from tests.jobs.helpers import submit

NAMES = ("loss_d", "loss_g")
Points = dict[int, np.float32]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Yield the statements that are sent to any database of this process."""
    sent: list[str] = []

    def record(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", record)


def _start(db: Database, job_id: str, attempt: int, from_step: int) -> None:
    """Start the job's next attempt, which resumes from that step."""
    with db.write() as s:
        if attempt > 1:
            leases.release(s, job_id, attempt - 1, crash=False, reason={"code": "drained", "message": ""})
        assert leases.claim(s, "w1", "cpu", 0, 60) is not None
        leases.record_resume(s, job_id, attempt, from_step)


def _append(db: Database, job_id: str, attempt: int, first: int, values: np.ndarray[Any, Any]) -> None:
    with db.write() as s:
        metrics.append(s, job_id, attempt, first, NAMES, values.astype(np.float32))


def _lengths(db: Database, job_id: str, name: str = "loss_d") -> list[int]:
    with db.read() as s:
        query = select(MetricBlock.last_step - MetricBlock.first_step + 1).where(
            MetricBlock.job_id == job_id, MetricBlock.name == name
        )
        return list(s.scalars(query.order_by(MetricBlock.first_step)))


def _wild(rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
    """Return values of which some are not finite."""
    values = rng.normal(size=(count, len(NAMES))).astype(np.float32)
    values[rng.random(values.shape) < 0.02] = np.nan
    values[rng.random(values.shape) < 0.01] = -np.inf
    return values


def _summary_of(points: Points) -> dict[str, Any]:
    """Return the expected summary of these points by step."""
    values = np.array([points[step] for step in sorted(points)])
    finite = values[np.isfinite(values)]
    return {
        "last": metrics.shortest_decimal(finite[-1]),
        "last_step": max(points),
        "min": metrics.shortest_decimal(finite.min()),
        "max": metrics.shortest_decimal(finite.max()),
        "count": len(values),
        "nonfinite_count": len(values) - len(finite),
    }


@pytest.mark.parametrize("seed", range(3))
def test_curves_and_summaries_cover_all_points_that_count(db: Database, seed: int) -> None:
    rng = np.random.default_rng(seed)
    job_id, step, expected = submit(db).id, 0, [dict[int, np.float32]() for _ in NAMES]
    for attempt in (1, 2, 3):
        step = int(rng.integers(0, step + 1)) if attempt < 3 else step // 2
        _start(db, job_id, attempt, step)
        expected = [{at: value for at, value in points.items() if at <= step} for points in expected]
        for _ in range(30):
            values = _wild(rng, int(rng.integers(1, 40)))
            _append(db, job_id, attempt, step + 1, values)
            for points, column in zip(expected, values.T, strict=True):
                points.update(zip(range(step + 1, step + 1 + len(column)), column, strict=True))
            step += len(values)
    low, high = step // 3, step // 2
    with db.read() as s:
        curves, parts = metrics.series(s, job_id, NAMES), metrics.series(s, job_id, NAMES, low, high)
        summaries = metrics.summaries(s, job_id)
    for name, points, summary in zip(NAMES, expected, summaries, strict=True):
        steps = sorted(points)
        assert curves[name].steps.tolist() == steps
        np.testing.assert_array_equal(curves[name].values, np.array([points[at] for at in steps]))
        assert parts[name].steps.tolist() == [at for at in steps if low <= at <= high]
        assert asdict(summary) == {"name": name, **_summary_of(points)}


def test_many_small_ticks_become_few_blocks(db: Database) -> None:
    job_id = submit(db).id
    _start(db, job_id, 1, 0)
    with db.write() as s:
        for first in range(1, 9001, 30):
            metrics.append(s, job_id, 1, first, NAMES, np.full((30, 2), first, np.float32))
    lengths = _lengths(db, job_id)
    assert sum(lengths) == 9000 and max(lengths) >= 8192 and len(lengths) < 20


def test_blocks_of_one_step_are_merged_too(db: Database) -> None:
    job_id = submit(db).id
    with db.write() as s:
        for step in range(1, 300):
            metrics.append(s, job_id, 1, step, NAMES, np.full((1, 2), step, np.float32))
    assert _lengths(db, job_id)[0] == 256 and len(_lengths(db, job_id)) == 1 + 299 - 256


def test_blocks_that_are_not_contiguous_stay_separate(db: Database) -> None:
    job_id = submit(db).id
    for step in (0, 100, 200, 256, 300):
        _append(db, job_id, 1, step, np.full((1, 2), step))
    assert _lengths(db, job_id) == [1] * 5


def test_an_attempt_does_not_merge_blocks_of_another(db: Database) -> None:
    job_id = submit(db).id
    _start(db, job_id, 1, 0)
    _append(db, job_id, 1, 1, np.ones((200, 2)))
    _start(db, job_id, 2, 150)
    _append(db, job_id, 2, 151, np.full((100, 2), 2))
    _append(db, job_id, 2, 251, np.full((10, 2), 3))
    with db.read() as s:
        values = metrics.series(s, job_id, ["loss_d"])["loss_d"].values.tolist()
        at = select(MetricBlock.attempt, MetricBlock.first_step, MetricBlock.last_step)
        places = [
            tuple(row) for row in s.execute(at.where(MetricBlock.name == "loss_d").order_by(MetricBlock.attempt))
        ]
    assert values == [1] * 150 + [2] * 100 + [3] * 10
    assert places == [(1, 1, 200), (2, 151, 260)]


@pytest.mark.parametrize("first", [201, 251, 8187])
def test_writing_a_tick_again_changes_nothing(db: Database, first: int) -> None:
    job_id = submit(db).id
    tick = np.arange(20.0).reshape(10, 2)
    for start in range(first % 50, first, 50):
        _append(db, job_id, 1, start, np.full((50, 2), start))
    _append(db, job_id, 1, first, tick)
    with db.read() as s:
        before, places = metrics.series(s, job_id, NAMES), _lengths(db, job_id)
        summary = metrics.summaries(s, job_id)
    _append(db, job_id, 1, first, tick)
    with db.read() as s:
        again = metrics.series(s, job_id, NAMES)
        assert metrics.summaries(s, job_id) == summary and _lengths(db, job_id) == places
    for name in NAMES:
        assert again[name].steps.tolist() == before[name].steps.tolist()
        assert again[name].values.tolist() == before[name].values.tolist()


def test_a_tick_is_one_statement_for_any_number_of_curves(db: Database) -> None:
    job_id, names = submit(db).id, [f"curve_{i}" for i in range(20)]
    with db.write() as s:
        s.connection()
        with statements() as sent:
            metrics.append(s, job_id, 1, 1, names, np.zeros((30, 20), np.float32))
            s.flush()
    assert len(sent) == 1 and sent[0].startswith("INSERT INTO metric_blocks")
    with db.read() as s:
        assert len(metrics.names_of(s, job_id)) == 20


def test_a_summary_reads_values_only_of_blocks_that_count_in_part(db: Database) -> None:
    job_id = submit(db).id
    _start(db, job_id, 1, 0)
    _append(db, job_id, 1, 1, np.ones((50, 2)))
    _append(db, job_id, 1, 51, np.ones((50, 2)))
    with db.write() as s:
        # If the values were read, the summary would change.
        s.execute(update(MetricBlock).values(values=np.full(50, 7, "<f4").tobytes()))
    with db.read() as s:
        assert [(m.max, m.count) for m in metrics.summaries(s, job_id)] == [(1.0, 100)] * 2
    _start(db, job_id, 2, 70)
    with db.read() as s, statements() as sent:
        assert [(m.max, m.count) for m in metrics.summaries(s, job_id)] == [(7.0, 70)] * 2
    assert len(sent) <= 4, "for any number of blocks that count in part"


def test_a_block_of_an_older_trainer_is_summarized_from_its_values(db: Database) -> None:
    job_id = submit(db).id
    _append(db, job_id, 1, 1, np.full((5, 2), np.nan))
    with db.write() as s:
        values = np.array([2, np.inf, 1], "<f4").tobytes()
        s.add(MetricBlock(job_id=job_id, name="loss_d", attempt=1, first_step=6, last_step=8, values=values))
    with db.read() as s:
        (summary, _) = metrics.summaries(s, job_id)
    assert (summary.min, summary.max, summary.last, summary.count, summary.nonfinite_count) == (1, 2, 1, 8, 6)


def test_a_curve_without_counting_points_is_listed_and_empty(db: Database) -> None:
    job_id = submit(db).id
    _start(db, job_id, 1, 0)
    _append(db, job_id, 1, 10, np.ones((5, 2)))
    _start(db, job_id, 2, 5)
    with db.read() as s:
        assert attempts.last_counted_steps(s, job_id)[1] == 5
        (summary, _) = metrics.summaries(s, job_id)
        assert (summary.count, summary.last_step, summary.last) == (0, 0, None)
        assert s.execute(select(func.count()).select_from(MetricBlock)).scalar_one() == 2
