"""Workers: registered, renewed by heartbeats, drained, counted."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import clock
from jobs.errors import WorkerNotFoundError
from jobs.models import Job, Worker, has_status
from jobs.status import Status
from jobs.store.callers import acts
from jobs.store.pages import Page, cut, decode

_FORGOTTEN_AFTER_SECONDS: Final = 7 * 86_400

WorkerStatus = Literal["idle", "busy", "draining", "lost"]


def register(s: Session, worker_id: str, host: str, devices: list[dict[str, Any]], gpus: int = 0) -> None:
    """Register a worker that has started and gives each job `gpus` GPUs.

    This also deletes the rows of workers that were silent for a week.
    """
    moment = clock.read(s)
    s.execute(delete(Worker).where(Worker.heartbeat_at < moment - _FORGOTTEN_AFTER_SECONDS))
    s.merge(
        Worker(
            id=worker_id,
            host=host,
            devices=devices,
            gpus=gpus,
            draining=False,
            started_at=moment,
            heartbeat_at=moment,
        )
    )


def heartbeat(s: Session, worker_id: str, *, draining: bool = False) -> bool:
    """Record a heartbeat. `draining` also records that the worker takes no more jobs, which is permanent.

    Return False if the worker is not in the database; then register it again.
    """
    values: dict[str, Any] = {"heartbeat_at": clock.now()}
    if draining:
        values["draining"] = True
    known = update(Worker).where(Worker.id == worker_id).values(**values).returning(Worker.id)
    return s.scalars(known).one_or_none() is not None


def request_drain(s: Session, worker_id: str) -> Worker:
    """Ask a worker to take no more jobs, to give back the one that it runs, and to exit. This cannot be undone.

    Repeating it changes nothing. Raises `WorkerNotFoundError`.
    """
    query = update(Worker).where(Worker.id == worker_id).values(draining=True).returning(Worker)
    row = s.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise WorkerNotFoundError(worker_id)
    acts.record(s, "worker.drain", worker_id)
    return row


def set_current_job(s: Session, worker_id: str, job_id: str | None) -> None:
    """Record which job the worker runs; None: it runs none."""
    s.execute(update(Worker).where(Worker.id == worker_id).values(current_job_id=job_id, heartbeat_at=clock.now()))


def clear_current_job(s: Session, job_id: str) -> None:
    """Record that no worker runs this job any more."""
    s.execute(update(Worker).where(Worker.current_job_id == job_id).values(current_job_id=None))


def remove(s: Session, worker_id: str) -> None:
    """Delete the row of a worker that has exited cleanly."""
    s.execute(delete(Worker).where(Worker.id == worker_id))


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Worker]:
    """Return a page of workers in order of id."""
    query = select(Worker).order_by(Worker.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Worker.id > decode(cursor, "workers"))
    return cut(list(s.scalars(query)), limit, "workers", lambda row: row.id)


def is_draining(s: Session, worker_id: str) -> bool:
    """Return whether the worker was asked to take no more jobs."""
    return bool(s.scalars(select(Worker.draining).where(Worker.id == worker_id)).one_or_none())


def count_idle(s: Session, lease_seconds: float) -> int:
    """Return how many live workers wait for work: those whose lease is on no job, whatever they last reported."""
    busy = select(Job.lease_owner).where(has_status(Status.RUNNING), Job.lease_owner.is_not(None))
    query = select(func.count()).select_from(Worker).where(*_taking_jobs(lease_seconds), Worker.id.not_in(busy))
    return s.execute(query).scalar_one()


def count_taking_jobs(s: Session, lease_seconds: float) -> int:
    """Return how many live workers take jobs, idle or busy: those that are neither lost nor draining."""
    return s.execute(select(func.count()).select_from(Worker).where(*_taking_jobs(lease_seconds))).scalar_one()


def count_on_host(s: Session, worker_id: str, seconds: float) -> int:
    """Return how many workers share this worker's host, itself included; at least 1.

    Only workers that take jobs and sent a heartbeat within `seconds` count.
    """
    host = select(Worker.host).where(Worker.id == worker_id).scalar_subquery()
    sharing = select(func.count()).where(Worker.host == host, Worker.draining.is_(False))
    return max(1, s.execute(sharing.where(Worker.heartbeat_at > clock.now() - seconds)).scalar_one())


def most_gpus(s: Session, lease_seconds: float) -> int | None:
    """Return the largest number of GPUs that a worker gives a job; None if no live worker takes jobs."""
    return s.scalar(select(func.max(Worker.gpus)).where(*_taking_jobs(lease_seconds)))


def largest_memory(s: Session, *, with_gpu: bool) -> int | None:
    """Return the bytes of the largest device of any known worker, lost ones included.

    None if no device reports its size. `with_gpu` considers only workers that give a job a GPU.
    """
    query = select(Worker.devices).where(Worker.gpus > 0) if with_gpu else select(Worker.devices)
    found = (device.get("memory_bytes") for devices in s.scalars(query) for device in devices)
    return max((size for size in found if size), default=None)


def _taking_jobs(lease_seconds: float) -> tuple[ColumnElement[bool], ...]:
    return Worker.heartbeat_at > clock.now() - lease_seconds, Worker.draining.is_(False)


def status_of(worker: Worker, moment: float, lease_seconds: float) -> WorkerStatus:
    """Return the worker's status at `moment`, by the database's clock."""
    if worker.heartbeat_at < moment - lease_seconds:
        return "lost"
    if worker.draining:
        return "draining"
    return "busy" if worker.current_job_id else "idle"
