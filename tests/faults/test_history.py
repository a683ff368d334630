"""The history checker: a valid record passes, and each corruption is reported by its rule."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select, text, update

from gan import checkpoint
from jobs import leases
from jobs.db import Database, Session
from jobs.models import DEFAULT_TENANT, Attempt, Checkpoint, Evaluation, Job, JobEvent, MetricBlock, Preview
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.storage import Storage, keys
from tests import schema
from tests.conftest import small_settings
from tests.faults.history import ClientView, check
from tests.faults.undisturbed import References
from tests.jobs.helpers import disk_path, files_of, submit
from tests.worker.helpers import with_evaluations
from worker.exits import Exit
from worker.trainer import attempt

REFERENCES = References()
BODY = with_evaluations(total_steps=60, checkpoints={"every_steps": 20, "keep_last": 2})


@pytest.fixture(scope="module")
def valid_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, str]:
    """Return a successful job of two attempts, and its id. Tests must not change it."""
    settings = small_settings(tmp_path_factory.mktemp("valid"))
    schema.copy_sqlite(settings)
    db = Database(settings.database)
    job = submit(db, **BODY)
    _attempt(settings, db, job.id, 1, stop=True)
    _attempt(settings, db, job.id, 2, stop=False)
    db.dispose()
    return settings, job.id


def _attempt(settings: Settings, db: Database, job_id: str, number: int, *, stop: bool) -> None:
    with db.write() as s:
        claimed = leases.claim(s, f"worker-{number}", "cpu", 0, 600)
    assert claimed is not None and (claimed.id, claimed.attempt) == (job_id, number)
    run = attempt.TrainingAttempt(settings, DEFAULT_TENANT, job_id, number)
    if stop:
        run.ask_to_stop()
    assert run.run() == (Exit.STOPPED if stop else Exit.SUCCEEDED)
    reason = {"code": "worker_draining", "message": "Drained."}
    with db.write() as s:
        if stop:
            leases.release(s, job_id, number, crash=False, reason=reason)
        else:
            leases.finish(s, job_id, number, Status.SUCCEEDED)


@pytest.fixture
def corruptible_job(valid_job: tuple[Settings, str], tmp_path: Path) -> tuple[Settings, str]:
    """Return a copy of the job that a test may corrupt: its database has no triggers."""
    settings, job_id = valid_job
    copied = small_settings(tmp_path)
    shutil.copytree(settings.data_dir, copied.data_dir)
    db = Database(copied.database)
    with db.write() as s:
        guards = "select type, name from sqlite_master where type = 'trigger' or name = 'uq_job_events_one_end'"
        for kind, name in s.execute(text(guards)).all():
            s.execute(text(f"drop {kind} {name}"))
    db.dispose()
    return copied, job_id


def _rules(settings: Settings, clients: ClientView) -> set[str]:
    db = Database(settings.database)
    found = check(db, files_of(settings), clients, REFERENCES)
    db.dispose()
    return {violation.rule for violation in found.violations}


def test_a_valid_record_passes(valid_job: tuple[Settings, str]) -> None:
    settings, job_id = valid_job
    db = Database(settings.database)
    found = check(db, files_of(settings), ClientView({"key": job_id}), REFERENCES)
    db.dispose()
    assert found.violations == []
    assert (found.jobs, found.attempts, found.ended_once) == (1, 2, 1)
    assert (found.finished, found.bit_equal) == (1, 1)
    assert (found.steps_missing, found.steps_doubled, found.orphan_files) == (0, 0, 0)


def _a_gap(s: Session, files: Storage) -> None:
    block = s.scalars(select(MetricBlock).where(MetricBlock.name == "loss_d").order_by(MetricBlock.first_step)).all()[
        1
    ]
    s.delete(block)


def _a_doubled_step(s: Session, files: Storage) -> None:
    one = np.zeros(1, "<f4").tobytes()
    s.add(MetricBlock(job_id=_id(s), name="loss_d", attempt=2, first_step=1, last_step=1, values=one))


def _a_point_past_the_end(s: Session, files: Storage) -> None:
    one = np.zeros(1, "<f4").tobytes()
    s.add(MetricBlock(job_id=_id(s), name="loss_d", attempt=2, first_step=61, last_step=61, values=one))


def _a_wrong_value(s: Session, files: Storage) -> None:
    block = s.scalars(select(MetricBlock).where(MetricBlock.name == "loss_g").limit(1)).one()
    values = np.frombuffer(block.values, "<f4").copy()
    values[-1] = np.nextafter(values[-1], np.float32(9))
    block.values = values.tobytes()


def _a_second_end(s: Session, files: Storage) -> None:
    job = s.get_one(Job, _id(s))
    job.event_seq += 1
    data = {"status": "succeeded"}
    s.add(
        JobEvent(
            job_id=job.id, seq=job.event_seq, type="job.status", attempt=2, data=data, ends_job=1, at=job.created_at
        )
    )


def _an_event_after_the_end(s: Session, files: Storage) -> None:
    _append(s, "job.progress", {"step": 60})


def _a_status_that_contradicts_the_last_event(s: Session, files: Storage) -> None:
    s.execute(update(Job).values(status="cancelled"))


def _no_end(s: Session, files: Storage) -> None:
    s.execute(update(Job).values(status="queued", finished_at=None))


def _a_failure(s: Session, files: Storage) -> None:
    s.execute(update(Job).values(status="failed", error={"code": "internal"}))


def _a_step_below_the_total(s: Session, files: Storage) -> None:
    s.execute(update(Job).values(step=59))


def _a_missing_event(s: Session, files: Storage) -> None:
    s.execute(delete(JobEvent).where(JobEvent.seq == 4))


def _an_invalid_transition(s: Session, files: Storage) -> None:
    running = s.scalars(select(JobEvent).where(JobEvent.type == "job.status").order_by(JobEvent.seq)).all()[1]
    running.data = {"status": "succeeded"}


def _an_attempt_without_a_row(s: Session, files: Storage) -> None:
    s.execute(delete(Attempt).where(Attempt.attempt == 1))


def _an_attempt_resumed_without_a_checkpoint(s: Session, files: Storage) -> None:
    s.execute(update(Attempt).where(Attempt.attempt == 2).values(resumed_from_step=59))


def _an_attempt_without_an_end(s: Session, files: Storage) -> None:
    s.execute(update(Attempt).where(Attempt.attempt == 2).values(ended_at=None, outcome=None))


def _a_held_lease(s: Session, files: Storage) -> None:
    s.execute(text("pragma ignore_check_constraints = on"))
    s.execute(update(Job).values(lease_until=1.0))


def _a_checkpoint_cut_off(s: Session, files: Storage) -> None:
    path = disk_path(files, _last(s).key)
    path.write_bytes(path.read_bytes()[:-1])


def _missing_weights(s: Session, files: Storage) -> None:
    disk_path(files, _last(s).weights_key).unlink()


def _wrong_weights(s: Session, files: Storage) -> None:
    row = _last(s)
    old = checkpoint.load_weights(disk_path(files, row.weights_key))
    tensors = {name: tensor + 1e-6 for name, tensor in old.tensors.items()}
    stored = files.put_bytes(row.weights_key, checkpoint.save_weights(tensors, old.spec, old.info, old.step))
    row.weights_bytes, row.weights_sha256 = stored.bytes, stored.sha256


def _no_last_checkpoint(s: Session, files: Storage) -> None:
    row = _last(s)
    for key in (row.key, row.weights_key):
        files.delete(key)
    row.state, row.is_best = "pruned", False


def _a_preview_cut_off(s: Session, files: Storage) -> None:
    path = disk_path(files, s.scalars(select(Preview).where(Preview.step == 50)).one().key)
    path.write_bytes(path.read_bytes()[:-1])


def _a_missing_best_mark(s: Session, files: Storage) -> None:
    s.execute(update(Checkpoint).values(is_best=False))


def _a_file_without_a_row(s: Session, files: Storage) -> None:
    files.put_bytes(keys.checkpoint(_id(s), 33, 1), b"orphan")


def _a_half_written_file(s: Session, files: Storage) -> None:
    disk_path(files, f"{_id(s)}/previews/000000050.1.png.abc.tmp").write_bytes(b"half")


def _a_missing_preview(s: Session, files: Storage) -> None:
    s.execute(delete(Preview).where(Preview.step == 50))


def _a_doubled_preview(s: Session, files: Storage) -> None:
    row = s.scalars(select(Preview).where(Preview.step == 50)).one()
    # From the attempt before, as if no later attempt had superseded it.
    s.execute(update(Attempt).where(Attempt.attempt == 2).values(resumed_from_step=None))
    s.add(Preview(job_id=row.job_id, step=50, attempt=1, key=row.key, bytes=1, sha256="0", created_at=0.0))


def _a_wrong_evaluation(s: Session, files: Storage) -> None:
    row = s.scalars(select(Evaluation).where(Evaluation.step == 40)).one()
    row.metrics = {**row.metrics, "fcd": 0.0}


CORRUPTIONS: dict[Callable[[Session, Storage], None], str] = {
    _a_gap: "every step once",
    _a_doubled_step: "every step once",
    _a_point_past_the_end: "the values of an undisturbed run",
    _a_wrong_value: "the values of an undisturbed run",
    _a_second_end: "one end",
    _an_event_after_the_end: "one end",
    _a_status_that_contradicts_the_last_event: "one end",
    _no_end: "one end",
    _a_failure: "ends as requested",
    _a_step_below_the_total: "ends as requested",
    _a_missing_event: "events numbered without a gap",
    _an_invalid_transition: "valid transitions only",
    _an_attempt_without_a_row: "attempts 1 to n",
    _an_attempt_resumed_without_a_checkpoint: "attempts 1 to n",
    _an_attempt_without_an_end: "attempts 1 to n",
    _a_held_lease: "no lease is held",
    _a_checkpoint_cut_off: "checkpoint files are intact",
    _missing_weights: "checkpoint files are intact",
    _wrong_weights: "the weights of an undisturbed run",
    _no_last_checkpoint: "the weights of an undisturbed run",
    _a_preview_cut_off: "preview files are intact",
    _a_missing_best_mark: "the best checkpoint of an undisturbed run",
    _a_file_without_a_row: "every file has a row",
    _a_half_written_file: "every file has a row",
    _a_missing_preview: "previews and evaluations once",
    _a_doubled_preview: "previews and evaluations once",
    _a_wrong_evaluation: "previews and evaluations once",
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda corrupt: corrupt.__name__.strip("_"))
def test_each_corruption_is_reported_by_its_rule(
    corruptible_job: tuple[Settings, str], corrupt: Callable[[Session, Storage], None]
) -> None:
    settings, job_id = corruptible_job
    db = Database(settings.database)
    with db.write() as s:
        s.connection().exec_driver_sql("pragma ignore_check_constraints = on")
        corrupt(s, files_of(settings))
    db.dispose()
    assert CORRUPTIONS[corrupt] in _rules(settings, ClientView({"key": job_id}))


def test_a_missing_accepted_job_is_reported(valid_job: tuple[Settings, str]) -> None:
    settings, job_id = valid_job
    clients = ClientView({"key": job_id, "other": "job_that_is_gone"})
    assert _rules(settings, clients) == {"the accepted jobs are on record"}


def test_a_job_without_an_accepting_answer_is_reported(valid_job: tuple[Settings, str]) -> None:
    assert _rules(valid_job[0], ClientView()) == {"the accepted jobs are on record"}
    assert _rules(valid_job[0], ClientView(doubles_allowed=True)) == set()


def test_one_job_for_two_keys_is_reported(valid_job: tuple[Settings, str]) -> None:
    assert _rules(valid_job[0], ClientView({"a": valid_job[1], "b": valid_job[1]})) == {
        "the accepted jobs are on record"
    }


def test_an_accepted_cancel_without_effect_is_reported(valid_job: tuple[Settings, str]) -> None:
    settings, job_id = valid_job
    clients = ClientView({"key": job_id}, cancels_sent={job_id}, cancels_promised={job_id})
    assert _rules(settings, clients) == {"ends as requested"}


def test_a_cancel_without_a_request_is_reported(corruptible_job: tuple[Settings, str]) -> None:
    settings, job_id = corruptible_job
    db = Database(settings.database)
    with db.write() as s:
        s.execute(update(Job).values(status="cancelled"))
    db.dispose()
    assert "ends as requested" in _rules(settings, ClientView({"key": job_id}))


def _append(s: Session, type: str, data: dict[str, Any], ends_job: int = 0) -> None:
    job = s.get_one(Job, _id(s))
    job.event_seq += 1
    s.add(JobEvent(job_id=job.id, seq=job.event_seq, type=type, attempt=2, data=data, ends_job=ends_job, at=0.0))


def _id(s: Session) -> str:
    return str(s.scalars(select(Job.id)).one())


def _last(s: Session) -> Checkpoint:
    return s.scalars(
        select(Checkpoint).where(Checkpoint.state == "ready").order_by(Checkpoint.step.desc()).limit(1)
    ).one()
