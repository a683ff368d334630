"""Workers that have said they are there, and whether they still are."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from jobs import clock
from jobs.errors import WorkerNotFoundError
from jobs.models import Job, Worker
from jobs.status import Status
from jobs.store.callers import acts
from jobs.store.pages import Page, cut, decode

_FORGOTTEN_AFTER: Final = 7 * 86_400

WorkerStatus = Literal["idle", "busy", "draining", "lost"]


def register(s: Session, worker_id: str, host: str, devices: list[dict[str, Any]], gpus: int = 0) -> None:
    """A worker has started, which gives a job `gpus` GPUs.

    Rows of workers that were silent for a week are dropped on the way.
    """
    moment = clock.read(s)
    s.execute(delete(Worker).where(Worker.heartbeat_at < moment - _FORGOTTEN_AFTER))
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
    """It is still there; `draining`: and takes no more jobs, from now on for good.

    False: nobody knows it, announce it again.
    """
    values: dict[str, Any] = {"heartbeat_at": clock.now()}
    if draining:
        values["draining"] = True
    known = update(Worker).where(Worker.id == worker_id).values(**values).returning(Worker.id)
    return s.scalars(known).one_or_none() is not None


def request_drain(s: Session, worker_id: str) -> Worker:
    """It shall take no more jobs, give back the one that it carries, and end; there is no way back.

    Repeating it changes nothing. Raises `WorkerNotFoundError`.
    """
    told = update(Worker).where(Worker.id == worker_id).values(draining=True).returning(Worker)
    row = s.scalars(told.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise WorkerNotFoundError(worker_id)
    acts.record(s, "worker.drain", worker_id)
    return row


def set_current_job(s: Session, worker_id: str, job_id: str | None) -> None:
    """Note which job it carries, or that it carries none."""
    s.execute(update(Worker).where(Worker.id == worker_id).values(current_job_id=job_id, heartbeat_at=clock.now()))


def clear_current_job(s: Session, job_id: str) -> None:
    """Nobody carries this job any more."""
    s.execute(update(Worker).where(Worker.current_job_id == job_id).values(current_job_id=None))


def remove(s: Session, worker_id: str) -> None:
    """It has stopped in good order."""
    s.execute(delete(Worker).where(Worker.id == worker_id))


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Worker]:
    """In order of id."""
    query = select(Worker).order_by(Worker.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Worker.id > decode(cursor, "workers"))
    return cut(list(s.scalars(query)), limit, "workers", lambda row: row.id)


def is_draining(s: Session, worker_id: str) -> bool:
    """Whether it was told to take no more jobs."""
    return bool(s.scalars(select(Worker.draining).where(Worker.id == worker_id)).one_or_none())


def count_idle(s: Session, lease_seconds: float) -> int:
    """How many live workers wait for work: those whose lease is on no job, whatever they last said of themselves."""
    carrying = select(Job.id).where(Job.status == Status.RUNNING.value, Job.lease_owner == Worker.id).exists()
    query = (
        select(func.count())
        .select_from(Worker)
        .where(Worker.heartbeat_at > clock.now() - lease_seconds)
        .where(Worker.draining.is_(False), ~carrying)
    )
    return s.execute(query).scalar_one()


def count_on_host(s: Session, worker_id: str, seconds: float) -> int:
    """How many workers share its host, itself among them: those that take jobs, and were heard of `seconds` ago."""
    host = select(Worker.host).where(Worker.id == worker_id).scalar_subquery()
    there = select(func.count()).where(Worker.host == host, Worker.draining.is_(False))
    return max(1, s.execute(there.where(Worker.heartbeat_at > clock.now() - seconds)).scalar_one())


def most_gpus(s: Session, lease_seconds: float) -> int | None:
    """The most GPUs that a live worker gives a job; None when no worker is alive."""
    alive = select(Worker.gpus).where(Worker.heartbeat_at > clock.now() - lease_seconds)
    return max(s.scalars(alive), default=None)


def largest_memory(s: Session, *, with_gpu: bool) -> int | None:
    """Bytes of the largest device of any worker on record, lost ones too; None where no device tells its size.

    `with_gpu`: of those that give a job a GPU.
    """
    query = select(Worker.devices).where(Worker.gpus > 0) if with_gpu else select(Worker.devices)
    found = (device.get("memory_bytes") for devices in s.scalars(query) for device in devices)
    return max((size for size in found if size), default=None)


def status_of(worker: Worker, moment: float, lease_seconds: float) -> WorkerStatus:
    """What to say of it at `moment` by the database's clock."""
    if worker.heartbeat_at < moment - lease_seconds:
        return "lost"
    if worker.draining:
        return "draining"
    return "busy" if worker.current_job_id else "idle"
