"""A retry: a new job that resumes from what an old job has learned, and owns all of it.

What it takes over is recorded as attempt 0: a checkpoint, and everything that counts up to its step. The files are
copies of its own, so that nothing is lost when the old job is deleted. The old job never changes.
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
"""The attempt number of everything that was taken over."""
_BLOCK_STEPS: Final = blocks.MERGED_STEPS[0]

Row = TypeVar("Row", Evaluation, Preview)


@dataclass(frozen=True)
class RetrySource:
    """What an ended job offers to resume from."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    """Newest first. Their files have not been verified yet."""
    best_steps: list[int] = field(default_factory=list)
    """The steps whose evaluation was the best so far."""
    previews: list[Preview] = field(default_factory=list)


@dataclass
class CopiedFiles:
    """The files that were copied for the new job, as rows of the old job; none: start from scratch."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    """The best, if there is one, and the one to resume from, in order of step."""
    best_step: int | None = None
    previews: list[Preview] = field(default_factory=list)
    passed_over: list[tuple[int, str]] = field(default_factory=list)
    """Steps of damaged checkpoints, and what is wrong with them."""

    @property
    def step(self) -> int:
        """The step that the new job resumes from."""
        return self.checkpoints[-1].step if self.checkpoints else 0


def find_source(s: Session, job_id: str) -> RetrySource:
    """Return what a job offers to resume from.

    Raises `JobNotFoundError`, `InvalidTransitionError` if the job cannot be retried.
    """
    job = _retriable(jobs.get(s, job_id))
    # The fields of another version of the spec may mean something else now, so its checkpoints are not used.
    if job.spec.get("spec_version") != SPEC_VERSION:
        return RetrySource()
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.state == "ready")
    rows = s.scalars(query.order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc())).all()
    best_steps = [row.step for row in _evaluations(s, job_id) if row.best_so_far]
    return RetrySource(list(rows), best_steps, previews.listing(s, job_id))


def copy_files(artifacts: Storage, source: RetrySource, new_id: str) -> CopiedFiles:
    """Copy the newest intact checkpoint to the new job's files, and the best one up to its step.

    Call it before `create`: files without a row are deleted later, but a row without files would be wrong.
    """
    found = CopiedFiles()
    for row in source.checkpoints:
        if found.checkpoints and row.step != found.best_step:
            continue
        try:
            _copy_checkpoint(artifacts, row, new_id)
        except ArtifactLostError as error:
            found.passed_over.append((row.step, str(error)))
            continue
        found.checkpoints.insert(0, row)
        if len(found.checkpoints) == 1:
            found.best_step = max((step for step in source.best_steps if step <= row.step), default=None)
        if row.step == found.best_step:
            break
    found.previews = [
        row for row in source.previews if row.step <= found.step and _copy_preview(artifacts, row, new_id)
    ]
    return found


def create(s: Session, job_id: str, new_id: str, copied: CopiedFiles) -> Job:
    """Store the new job, with the old one's spec, and all that it takes over in one transaction.

    Raises `JobNotFoundError`, `InvalidTransitionError`, `DatasetNotFoundError`, `SpecError`, `QuotaExceededError`,
    `QuotaUsedUpError`.
    """
    locked = jobs.lock(s, Job.id == job_id)
    if locked is None:
        raise JobNotFoundError(job_id)
    old = _retriable(locked)
    info = datasets.info(datasets.of_job(s, old))
    job = jobs.create(s, from_record(old.spec), info, job_id=new_id, retry_of=job_id)
    for step, why in copied.passed_over:
        events.record(s, new_id, "checkpoint.bad", {"step": step, "reason": why}, attempt=TAKEN_OVER)
    if copied.checkpoints:
        _take_over(s, old, job, copied)
    s.refresh(job)
    return job


def _retriable(job: Job) -> Job:
    """Return the job if it can be retried. Raises `InvalidTransitionError`."""
    if Status(job.status) not in ACTIONS[Action.RETRY]:
        raise InvalidTransitionError(Action.RETRY.value, job.status, jobs.actions(job))
    return job


def _take_over(s: Session, old: Job, job: Job, copied: CopiedFiles) -> None:
    job.step = copied.step
    job.images_seen = round(old.images_seen * copied.step / old.step) if old.step else 0
    job.latest_metrics = dict(copied.checkpoints[-1].metrics)
    s.flush()
    for row in copied.checkpoints:
        best = row.step == copied.best_step
        checkpoints.register(s, job.id, TAKEN_OVER, row.step, row.metrics, *_stored(row, job.id), best=best)
    for name in metrics.names_of(s, old.id):
        curve = metrics.series(s, old.id, [name], to_step=copied.step)[name]
        for first_step, values in blocks.contiguous_runs(curve, _BLOCK_STEPS):
            metrics.append(s, job.id, TAKEN_OVER, first_step, [name], values[:, None])
    s.add_all(_row_copy(row, job.id) for row in _evaluations(s, old.id) if row.step <= copied.step)
    s.add_all(_row_copy(row, job.id, key=_preview_key(row, job.id)) for row in copied.previews)
    s.flush()


def _evaluations(s: Session, job_id: str) -> list[Evaluation]:
    """Return the evaluations that count, in order of step."""
    limit_of = attempts.last_counted_steps(s, job_id)
    query = select(Evaluation).where(Evaluation.job_id == job_id).order_by(Evaluation.step, Evaluation.attempt)
    rows = [row for row in s.scalars(query) if row.step <= limit_of.get(row.attempt, attempts.NO_LIMIT)]
    return list({row.step: row for row in rows}.values())


def _row_copy(row: Row, new_id: str, **changes: str) -> Row:
    """Return a copy of a row that belongs to the new job."""
    values = {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
    return type(row)(**values | {"job_id": new_id, "attempt": TAKEN_OVER} | changes)


def _stored(row: Checkpoint, new_id: str) -> tuple[StoredFile, StoredFile]:
    """Return both files of a checkpoint under the keys of the new job."""
    return (
        StoredFile(keys.checkpoint(new_id, row.step, TAKEN_OVER), row.bytes, row.sha256),
        StoredFile(keys.weights(new_id, row.step, TAKEN_OVER), row.weights_bytes, row.weights_sha256),
    )


def _copy_checkpoint(artifacts: Storage, row: Checkpoint, new_id: str) -> None:
    """Verify and copy both files of a checkpoint. Raises `ArtifactLostError`."""
    file, weights = _stored(row, new_id)
    artifacts.verify(row.key, row.bytes, row.sha256)
    artifacts.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
    artifacts.copy(row.key, file.key)
    artifacts.copy(row.weights_key, weights.key)


def _copy_preview(artifacts: Storage, row: Preview, new_id: str) -> bool:
    """Copy the file of a preview; return whether it still existed."""
    try:
        artifacts.copy(row.key, _preview_key(row, new_id))
    except ArtifactLostError:
        return False
    return True


def _preview_key(row: Preview, new_id: str) -> str:
    return keys.preview(new_id, row.step, TAKEN_OVER)
