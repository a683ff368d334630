"""A retry: a new job that goes on from what the old one had learnt, and owns all of it.

What it takes over stands in its record as attempt 0: a checkpoint, and all that counts up to its step. The files are
links of its own, so that nothing is lost when the old job is deleted; the old record never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from gan.spec import SPEC_VERSION, from_record
from jobs.errors import ArtifactLostError, InvalidTransitionError, JobNotFoundError
from jobs.models import Checkpoint, Evaluation, Job, Preview
from jobs.status import ACTIONS, Action, Status
from jobs.storage import Storage, StoredFile, keys
from jobs.store import attempts, blocks, checkpoints, datasets, events, jobs, metrics, previews

TAKEN_OVER: Final = 0
"""The attempt that what was taken over is of."""
_BLOCK_STEPS: Final = blocks.MERGED_STEPS[0]

Row = TypeVar("Row", Evaluation, Preview)


@dataclass(frozen=True)
class RetrySource:
    """What a job that has ended has left behind to go on from."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    """Newest first; whether their files are what was written is not known yet."""
    best_steps: list[int] = field(default_factory=list)
    """Where an evaluation was the best so far."""
    previews: list[Preview] = field(default_factory=list)


@dataclass
class LinkedFiles:
    """What lies in the new job's folder, as the old job has it; nothing: from scratch."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    """The best, where there is one, and the one to go on from, in order of step."""
    best_step: int | None = None
    previews: list[Preview] = field(default_factory=list)
    passed_over: list[tuple[int, str]] = field(default_factory=list)
    """Steps of checkpoints that are not what was written, and why."""

    @property
    def step(self) -> int:
        """That the new job goes on from."""
        return self.checkpoints[-1].step if self.checkpoints else 0


def find_source(s: Session, job_id: str) -> RetrySource:
    """Raises `JobNotFoundError`, `InvalidTransitionError` when the job is not one to be retried."""
    job = _retriable(jobs.get(s, job_id))
    # What another version of the spec has trained is not what its words mean now.
    if job.spec.get("spec_version") != SPEC_VERSION:
        return RetrySource()
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.state == "ready")
    rows = s.scalars(query.order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc())).all()
    best_steps = [row.step for row in _evaluations(s, job_id) if row.best_so_far]
    return RetrySource(list(rows), best_steps, previews.listing(s, job_id))


def link_files(artifacts: Storage, left: RetrySource, new_id: str) -> LinkedFiles:
    """Put the newest checkpoint that is what was written into the new job's folder, and the best up to its step.

    It comes before `create`: files without a record are swept up, a record without files is a lie.
    """
    found = LinkedFiles()
    for row in left.checkpoints:
        if found.checkpoints and row.step != found.best_step:
            continue
        try:
            _link(artifacts, row, new_id)
        except ArtifactLostError as error:
            found.passed_over.append((row.step, str(error)))
            continue
        found.checkpoints.insert(0, row)
        if len(found.checkpoints) == 1:
            found.best_step = max((step for step in left.best_steps if step <= row.step), default=None)
        if row.step == found.best_step:
            break
    found.previews = [row for row in left.previews if row.step <= found.step and _linked(artifacts, row, new_id)]
    return found


def create(s: Session, job_id: str, new_id: str, inherited: LinkedFiles) -> Job:
    """Store the new job, of the old one's spec, and all that it takes over: one transaction, all or nothing.

    Raises `JobNotFoundError`, `InvalidTransitionError`, `DatasetNotFoundError`, `QuotaExceededError`, `QuotaUsedUpError`.
    """
    locked = jobs.lock(s, Job.id == job_id)
    if locked is None:
        raise JobNotFoundError(job_id)
    old = _retriable(locked)
    info = datasets.info(datasets.of_job(s, old))
    job = jobs.create(s, from_record(old.spec), info, job_id=new_id, retry_of=job_id)
    for step, why in inherited.passed_over:
        events.record(s, new_id, "checkpoint.bad", {"step": step, "reason": why}, attempt=TAKEN_OVER)
    if inherited.checkpoints:
        _take_over(s, old, job, inherited)
    s.refresh(job)
    return job


def _retriable(job: Job) -> Job:
    """Raises `InvalidTransitionError`."""
    if Status(job.status) not in ACTIONS[Action.RETRY]:
        raise InvalidTransitionError(Action.RETRY.value, job.status, jobs.actions(job))
    return job


def _take_over(s: Session, old: Job, job: Job, inherited: LinkedFiles) -> None:
    job.step = inherited.step
    job.images_seen = round(old.images_seen * inherited.step / old.step) if old.step else 0
    job.latest_metrics = dict(inherited.checkpoints[-1].metrics)
    s.flush()
    for row in inherited.checkpoints:
        best = row.step == inherited.best_step
        checkpoints.register(s, job.id, TAKEN_OVER, row.step, row.metrics, *_stored(row, job.id), best=best)
    for name in metrics.names_of(s, old.id):
        curve = metrics.series(s, old.id, [name], to_step=inherited.step)[name]
        for first_step, values in blocks.contiguous_runs(curve, _BLOCK_STEPS):
            metrics.append(s, job.id, TAKEN_OVER, first_step, [name], values[:, None])
    s.add_all(_own(row, job.id) for row in _evaluations(s, old.id) if row.step <= inherited.step)
    s.add_all(_own(row, job.id, key=_preview_key(row, job.id)) for row in inherited.previews)
    s.flush()


def _evaluations(s: Session, job_id: str) -> list[Evaluation]:
    """Those that count, in order of step."""
    limit_of = attempts.last_counted_steps(s, job_id)
    query = select(Evaluation).where(Evaluation.job_id == job_id).order_by(Evaluation.step, Evaluation.attempt)
    rows = [row for row in s.scalars(query) if row.step <= limit_of.get(row.attempt, attempts.NO_LIMIT)]
    return list({row.step: row for row in rows}.values())


def _own(row: Row, new_id: str, **changes: str) -> Row:
    """A copy of a row, of the new job."""
    values = {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
    return type(row)(**values | {"job_id": new_id, "attempt": TAKEN_OVER} | changes)


def _stored(row: Checkpoint, new_id: str) -> tuple[StoredFile, StoredFile]:
    """Both files of a checkpoint, as the new job has them."""
    return (
        StoredFile(keys.checkpoint(new_id, row.step, TAKEN_OVER), row.bytes, row.sha256),
        StoredFile(keys.weights(new_id, row.step, TAKEN_OVER), row.weights_bytes, row.weights_sha256),
    )


def _link(artifacts: Storage, row: Checkpoint, new_id: str) -> None:
    """Raises `ArtifactLostError`."""
    file, weights = _stored(row, new_id)
    artifacts.verify(row.key, row.bytes, row.sha256)
    artifacts.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
    artifacts.copy(row.key, file.key)
    artifacts.copy(row.weights_key, weights.key)


def _linked(artifacts: Storage, row: Preview, new_id: str) -> bool:
    """Whether there was still a picture to link."""
    try:
        artifacts.copy(row.key, _preview_key(row, new_id))
    except ArtifactLostError:
        return False
    return True


def _preview_key(row: Preview, new_id: str) -> str:
    return keys.preview(new_id, row.step, TAKEN_OVER)
