"""Evaluations, the best checkpoint and the verdict, from real trainers through the record."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import pytest

from jobs import leases
from jobs.db import Database
from jobs.models import DEFAULT_TENANT, Checkpoint, Evaluation
from jobs.runtime.settings import Settings
from jobs.store import checkpoints, evaluations, health, jobs, metrics
from tests.jobs.helpers import files_of, submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import events_of, job_of, uninterrupted, until, with_checkpoints, with_evaluations
from tests.worker.pausing import PausingTrainer
from worker.exits import Exit
from worker.trainer.attempt import TrainingAttempt
from worker.trainer.recorder import plain

DIVERGENCE_FINDING: dict[str, Any] = {
    "code": "divergence",
    "severity": "critical",
    "began_at_step": 10,
    "found_at_step": 20,
    "message": "Coming apart.",
    "evidence": [],
    "remedy": [],
}
# Stop at the first evaluation past three tenths of the run. No generator can meet these thresholds, and no other
# critical finding comes before.
STOP_EARLY_SAFEGUARDS = {
    "policy": "stop_and_keep_best",
    "every_steps": 20,
    "thresholds": {
        "warm_up_images": 0,
        "never_learned_distance": 0.0,
        "healthy_precision": 1.0,
        "healthy_coverage": 1.0,
        "improvement": 1.0,
        "evaluations": 3,
        "collapse_diversity": 0.0,
        "collapse_duplicates": 1.0,
    },
}


def evaluations_of(db: Database, job_id: str) -> list[Evaluation]:
    with db.read() as s:
        return evaluations.page(s, job_id, limit=100).data[::-1]


def best_checkpoint(db: Database, job_id: str) -> Checkpoint:
    with db.read() as s:
        return checkpoints.choose(s, job_id, "best")


def event_data(db: Database, job_id: str, type: str) -> list[Mapping[str, Any]]:
    return [event.data for event in events_of(db, job_id) if event.type == type]


def test_a_job_ends_with_a_verdict_evaluations_and_a_best_checkpoint(
    settings: Settings, db: Database, run: RunJob
) -> None:
    job = submit(db, **with_evaluations())
    run(settings).result()
    ended = job_of(db, job.id)
    assert ended.status == "succeeded" and ended.health["verdict"] in ("healthy", "warning", "failing")
    rows = evaluations_of(db, job.id)
    assert [row.step for row in rows] == [0, 20, 40, 60]
    assert [e["step"] for e in event_data(db, job.id, "evaluation.completed")] == [0, 20, 40, 60]
    assert rows[1].details["provenance"]["feature_net"]["accuracy"] > 0.8
    best = best_checkpoint(db, job.id)
    with db.read() as s:
        assert evaluations.best(s, job.id) == (best.step, 1)
        curve = metrics.series(s, job.id, ["fcd"])["fcd"]
    assert curve.steps.tolist() == [0, 20, 40, 60]
    assert best.metrics["fcd"] == next(row.metrics["fcd"] for row in rows if row.step == best.step)
    assert {"loss_d", "fcd"} <= best.metrics.keys() and ended.latest_metrics["fcd"] == rows[-1].metrics["fcd"]
    assert files_of(settings).exists(best.weights_key)


def test_a_kill_neither_loses_nor_doubles_an_evaluation(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    rarely = {"every_steps": 5000}
    body = with_evaluations(
        total_steps=200, checkpoints=rarely | {"keep_last": 2}, previews=rarely | {"per_class": 1}
    )
    job = submit(sqlite_db, **body)
    pausing = PausingTrainer(sqlite_settings)
    first = run(pausing.settings)
    victim = pausing.pause_when(lambda: len(event_data(sqlite_db, job.id, "evaluation.completed")) >= 4, job.id)
    os.kill(victim, signal.SIGKILL)
    first.result()
    until(lambda: run(sqlite_settings).result() is not None)
    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.attempt) == ("succeeded", 2)

    undisturbed = uninterrupted(body)
    rows = evaluations_of(sqlite_db, job.id)
    assert [row.step for row in rows] == [e.step for e in undisturbed.evaluations] == [*range(0, 201, 20)]
    assert [row.metrics for row in rows] == [plain(e.metrics) for e in undisturbed.evaluations]
    assert best_checkpoint(sqlite_db, job.id).step == undisturbed.best_step
    assert ended.health["verdict"] == undisturbed.verdict
    with sqlite_db.read() as s:
        assert metrics.series(s, job.id, ["fcd"])["fcd"].steps.tolist() == [*range(0, 201, 20)]


def test_a_requested_checkpoint_follows_the_evaluation_of_its_step(
    sqlite_settings: Settings, sqlite_db: Database
) -> None:
    job = submit(sqlite_db, **with_evaluations(total_steps=20))
    with sqlite_db.write() as s:
        leases.claim(s, "the test", "cpu", 0, 60)
        jobs.request_checkpoint(s, job.id)
    assert TrainingAttempt(sqlite_settings, DEFAULT_TENANT, job.id, 1).run() == Exit.SUCCEEDED
    best = best_checkpoint(sqlite_db, job.id)
    assert best.step == 20 and "fcd" in best.metrics
    order = [event.type for event in events_of(sqlite_db, job.id) if event.data.get("step") == 20]
    assert order.index("evaluation.completed") < order.index("checkpoint.created")


def test_a_job_that_is_stopped_early_succeeds_with_a_reason(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    job = submit(sqlite_db, **with_evaluations(safeguards=STOP_EARLY_SAFEGUARDS, total_steps=200))
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.error, ended.step) == ("succeeded", None, 60)
    assert ended.status_reason is not None and ended.status_reason["code"] == "stopped_early"
    assert ended.status_reason["message"] and ended.health["verdict"] == "failing"
    (finding,) = (found for found in ended.health["findings"] if found["severity"] == "critical")
    assert finding["code"] == "never_learned" and finding["evidence"] and finding["remedy"]
    raised = [event["code"] for event in event_data(sqlite_db, job.id, "health.finding")]
    assert "never_learned" in raised
    assert best_checkpoint(sqlite_db, job.id).step <= 60
    with sqlite_db.read() as s:
        newest = checkpoints.newest_ready(s, job.id)
    assert newest is not None and newest.step == 60


def test_a_resume_removes_findings_and_evaluations_past_the_checkpoint(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, with_evaluations(total_steps=30), steps=3)
    with sqlite_db.write() as s:
        health.record(s, job.id, 1, 20, "failing", [DIVERGENCE_FINDING], raised=[DIVERGENCE_FINDING])
        evaluations.register(s, job.id, 1, 20, {"fcd": 0.1}, {}, best_so_far=True)
        assert checkpoints.mark_best(s, job.id, 3) is not None
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.attempt) == ("succeeded", 2)
    assert DIVERGENCE_FINDING["code"] not in [found["code"] for found in ended.health["findings"]]
    cleared = next(
        event for event in events_of(sqlite_db, job.id) if event.type == "health.finding" and event.attempt == 2
    )
    assert cleared.data["code"] == "verdict" and cleared.data["found_at_step"] == 3
    assert [(row.step, row.attempt) for row in evaluations_of(sqlite_db, job.id)] == [(20, 2), (30, 2)]
    assert best_checkpoint(sqlite_db, job.id).step in (20, 30), "the best mark moves to an evaluated step"


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (float("nan"), None),
        (-float("inf"), None),
        ({"a": (1, 2.5, float("inf")), 3: "x"}, {"a": [1, 2.5, None], "3": "x"}),
        ([True, None, {"b": []}], [True, None, {"b": []}]),
    ],
)
def test_values_that_json_cannot_hold_become_null(value: Any, as_json: Any) -> None:
    assert plain(value) == as_json
