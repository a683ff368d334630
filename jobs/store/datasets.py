"""Registered data sets: what they are; their images are the worker's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import CursorResult, func, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from gan.spec import DatasetClass, DatasetInfo
from jobs import clock, tenancy
from jobs.errors import (
    DatasetBuiltInError,
    DatasetExistsError,
    DatasetInUseError,
    DatasetNotFoundError,
    DatasetNotReadyError,
    FencedError,
)
from jobs.ids import new_id
from jobs.models import SHARED, Dataset, Job
from jobs.store.callers import acts, tenants
from jobs.store.pages import Page, cut, decode

VALIDATING: Final = "validating"
READY: Final = "ready"
FAILED: Final = "failed"

_LONGEST_LEASE_SECONDS: Final = 600


def register(s: Session, info: DatasetInfo) -> Dataset:
    """Store `info` under its name, or bring the row of that name up to it."""
    named = (Dataset.name == info.name, Dataset.tenant == SHARED)
    row = s.scalars(select(Dataset).where(*named)).one_or_none()
    if row is None:
        row = Dataset(id=new_id("ds"), tenant=SHARED, name=info.name, created_at=clock.read(s))
        s.add(row)
    row.status, row.problems, row.sha256 = READY, [], info.sha256
    _fill(row, info)
    s.flush()
    return row


def create_upload(s: Session, dataset_id: str, name: str, asked_side: int | None, archive_bytes: int = 0) -> Dataset:
    """A new data set, whose archive lies there and is to be validated; one of its name that failed makes way.

    Raises `DatasetExistsError`, `QuotaUsedUpError`.
    """
    tenant = tenancy.tenant_of(s)
    tenants.admit_bytes(s, tenant, archive_bytes)
    s.execute(sql_delete(Dataset).where(Dataset.tenant == tenant, Dataset.name == name, Dataset.status == FAILED))
    if s.scalar(select(Dataset.id).where(Dataset.tenant == SHARED, Dataset.name == name)) is not None:
        raise DatasetExistsError(name)
    row = Dataset(
        id=dataset_id,
        tenant=tenant,
        name=name,
        status=VALIDATING,
        num_images=0,
        channels=0,
        height=0,
        width=0,
        classes=[],
        problems=[],
        uploaded=True,
        asked_side=asked_side,
        created_at=clock.read(s),
    )
    try:
        with s.begin_nested():
            s.add(row)
    except IntegrityError:
        raise DatasetExistsError(name) from None
    acts.record(s, "dataset.add", dataset_id, name=name)
    s.refresh(row)
    return row


def oldest_waiting(s: Session) -> str | None:
    """The oldest that is to be validated and that nobody is at; None: there is none."""
    return s.scalar(select(Dataset.id).where(*_free()).order_by(Dataset.id).limit(1))


def claim(s: Session, dataset_id: str, lease_seconds: float) -> Dataset | None:
    """Take that one for an attempt of ours; None: somebody else has."""
    return s.scalars(
        update(Dataset)
        .where(Dataset.id == dataset_id, *_free())
        .values(attempt=Dataset.attempt + 1, lease_until=clock.now() + lease_seconds)
        .returning(Dataset)
        .execution_options(populate_existing=True)
    ).one_or_none()


def record_progress(
    s: Session,
    dataset_id: str,
    attempt: int,
    lease_seconds: float,
    *,
    progress: dict[str, Any] | None = None,
    preparation: dict[str, Any] | None = None,
) -> None:
    """How far the attempt is, and what is going to be done to the images. Renews its lease. Raises `FencedError`."""
    told = {"progress": progress, "preparation": preparation}
    values = {name: value for name, value in told.items() if value is not None}
    _write(s, dataset_id, attempt, lease_until=clock.now() + lease_seconds, **values)


def mark_ready(s: Session, dataset_id: str, attempt: int, info: DatasetInfo, held_out: int) -> None:
    """It is ready: what the attempt has unpacked is what it is. Raises `FencedError`."""
    _write(s, dataset_id, attempt, status=READY, num_held_out=held_out, sha256=info.sha256, **_shape(info), **_ENDED)


def mark_failed(s: Session, dataset_id: str, attempt: int, problems: Sequence[dict[str, Any]]) -> None:
    """It failed. Raises `FencedError`."""
    _write(s, dataset_id, attempt, status=FAILED, problems=list(problems), **_ENDED)


def get(s: Session, name_or_id: str) -> Dataset:
    """The data set of that name or id. Raises `DatasetNotFoundError`."""
    row = s.scalars(select(Dataset).where(_named(name_or_id)).limit(1)).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name_or_id)
    return row


def of_job(s: Session, job: Job) -> Dataset:
    """What a job is trained on: its name is its tenant's, or everybody's. Raises `DatasetNotFoundError`."""
    named = (Dataset.name == job.dataset, Dataset.tenant.in_([job.tenant, SHARED]))
    row = s.scalars(select(Dataset).where(*named).order_by(Dataset.tenant.desc()).limit(1)).one_or_none()
    if row is None:
        raise DatasetNotFoundError(job.dataset)
    return row


def lock_ready(s: Session, name_or_id: str) -> Dataset:
    """One that a job may be trained on, which stays until this transaction ends.

    Raises `DatasetNotFoundError`, `DatasetNotReadyError`.
    """
    held = select(Dataset).where(_named(name_or_id)).limit(1).with_for_update(read=True, key_share=True)
    row = s.scalars(held).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name_or_id)
    if row.status != READY:
        raise DatasetNotReadyError(row.name, row.status)
    return row


def delete(s: Session, name_or_id: str) -> str:
    """Drop the record of one that somebody brought and that no job on record names; its id.

    The caller then drops its files. Raises `DatasetNotFoundError`, `DatasetBuiltInError`, `DatasetInUseError`.
    """
    # Locked: a job that is being stored on it is seen, or does not find it any more.
    row = s.scalars(select(Dataset).where(_named(name_or_id)).limit(1).with_for_update()).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name_or_id)
    if not row.uploaded:
        raise DatasetBuiltInError(row.name)
    on_it = (Job.tenant == row.tenant, Job.dataset == row.name)
    count, newest = s.execute(select(func.count(), func.max(Job.id)).where(*on_it)).one()
    if count:
        raise DatasetInUseError(row.name, newest, count)
    s.execute(sql_delete(Dataset).where(Dataset.id == row.id))
    acts.record(s, "dataset.delete", row.id, name=row.name)
    return row.id


def names(s: Session) -> list[str]:
    """The names that a job may ask for."""
    return list(s.scalars(select(Dataset.name).where(Dataset.status == READY).order_by(Dataset.name)))


def ids_with_files(s: Session) -> set[str]:
    """Of those whose files are somebody's: all that did not fail."""
    return set(s.scalars(select(Dataset.id).where(Dataset.status != FAILED)))


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Dataset]:
    """In order of registration."""
    query = select(Dataset).order_by(Dataset.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Dataset.id > decode(cursor, "datasets"))
    return cut(list(s.scalars(query)), limit, "datasets", lambda row: row.id)


def info(row: Dataset) -> DatasetInfo:
    """The row as the spec's checks and the trainer read it."""
    return DatasetInfo(
        name=row.name,
        num_images=row.num_images,
        channels=row.channels,
        height=row.height,
        width=row.width,
        classes=tuple(DatasetClass(**c) for c in row.classes),
        sha256=row.sha256,
    )


_ENDED: Final[dict[str, Any]] = {"progress": None, "lease_until": None}


def _free() -> tuple[ColumnElement[bool], ...]:
    over = or_(Dataset.lease_until.is_(None), Dataset.lease_until < clock.now())
    # One that is to last for so long was written before a clock was set back.
    return Dataset.status == VALIDATING, or_(over, Dataset.lease_until > clock.now() + _LONGEST_LEASE_SECONDS)


def _named(name_or_id: str) -> ColumnElement[bool]:
    return or_(Dataset.name == name_or_id, Dataset.id == name_or_id)


def _shape(info: DatasetInfo) -> dict[str, Any]:
    classes = [c.model_dump() for c in info.classes]
    sizes = {"num_images": info.num_images, "channels": info.channels, "height": info.height, "width": info.width}
    return {**sizes, "classes": classes}


def _fill(row: Dataset, info: DatasetInfo) -> None:
    for name, value in _shape(info).items():
        setattr(row, name, value)


def _write(s: Session, dataset_id: str, attempt: int, **values: Any) -> None:
    """Raises `FencedError` where the attempt is over, or the data set is deleted."""
    mine = (Dataset.id == dataset_id, Dataset.attempt == attempt, Dataset.status == VALIDATING)
    done = cast(CursorResult[Any], s.execute(update(Dataset).where(*mine).values(**values)))
    if done.rowcount == 0:
        raise FencedError(f"The data set {dataset_id} is no longer attempt {attempt}'s.")
