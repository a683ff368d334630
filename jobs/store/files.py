"""Which files of a job are recorded in the database. Any other checkpoint or preview file has no owner."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import clock
from jobs.models import Checkpoint, Job, Preview
from jobs.status import TERMINAL
from jobs.storage import Storage
from jobs.storage.keys import checkpoints, onnx, previews

_DAY_SECONDS: Final = 86_400.0


def recorded_keys(s: Session, job_id: str) -> set[str]:
    """Return the keys of the job's previews and unpruned checkpoints, and of exports made from these."""
    kept = select(Checkpoint.key, Checkpoint.weights_key).where(
        Checkpoint.job_id == job_id, Checkpoint.state != "pruned"
    )
    keys = {key for key, _ in s.execute(kept)}
    weights = {key for _, key in s.execute(kept)}
    pictures = set(s.scalars(select(Preview.key).where(Preview.job_id == job_id)))
    return keys | weights | {onnx(key) for key in weights} | pictures


def written(artifacts: Storage, job_id: str) -> list[str]:
    """Return the keys of all checkpoints and previews of a job in the store, unfinished ones too."""
    prefixes = (checkpoints(job_id), previews(job_id))
    return [key for prefix in prefixes for key in artifacts.list_keys(prefix, unfinished=True)]


def recently_ended(s: Session, after: float | None, ago_seconds: float) -> tuple[list[tuple[str, str]], float]:
    """Return the (id, tenant) of jobs that ended after `after`, and the end of the period that was searched.

    The period ends `ago_seconds` ago. `after` None is a day before its end.
    """
    until = clock.read(s) - ago_seconds
    after = until - _DAY_SECONDS if after is None else after
    ended = Job.status.in_([status.value for status in TERMINAL])
    query = select(Job.id, Job.tenant).where(ended, Job.finished_at > after, Job.finished_at <= until)
    return [(job_id, tenant) for job_id, tenant in s.execute(query)], max(after, until)
