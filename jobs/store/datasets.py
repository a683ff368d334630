"""Data sets: registered, validated, found. Only the worker reads their images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import CursorResult, func, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from gan.spec import DatasetClass, DatasetInfo, nfc
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


def register(s: Session, info: DatasetInfo, why_not_installed: str = "") -> Dataset:
    """Store `info` under its name as a built-in data set, or update the row of that name.

    A new row is ready, unless `why_not_installed` says why it cannot be loaded. `set_installed` changes that.
    """
    row = s.scalars(select(Dataset).where(*_builtin(info.name))).one_or_none()
    if row is None:
        row = Dataset(id=new_id("ds"), tenant=SHARED, name=info.name, created_at=clock.read(s))
        row.status, row.problems = _availability(why_not_installed)
        s.add(row)
    row.sha256 = info.sha256
    _fill(row, info)
    s.flush()
    return row


def set_installed(s: Session, name: str, why_not: str = "") -> None:
    """Record that workers can load a built-in data set, or why they cannot."""
    status, problems = _availability(why_not)
    row = s.scalars(select(Dataset).where(*_builtin(name))).one_or_none()
    if row is not None and (row.status, row.problems) != (status, problems):
        row.status, row.problems = status, problems


def create_upload(s: Session, dataset_id: str, name: str, asked_side: int | None, archive_bytes: int = 0) -> Dataset:
    """Create a data set whose archive is stored and has to be validated.

    It replaces a data set of the same name that failed. Raises `DatasetExistsError`, `QuotaUsedUpError`.
    """
    tenant = tenancy.tenant_of(s)
    tenants.admit_bytes(s, tenant, archive_bytes)
    s.execute(sql_delete(Dataset).where(Dataset.tenant == tenant, Dataset.name == name, Dataset.status == FAILED))
    require_free(s, name)
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


def require_free(s: Session, name: str) -> None:
    """Raise `DatasetExistsError` if the tenant sees a data set of this name that did not fail."""
    if s.scalar(select(Dataset.id).where(_named(name), Dataset.status != FAILED).limit(1)) is not None:
        raise DatasetExistsError(name)


def oldest_waiting(s: Session) -> str | None:
    """Return the id of the oldest data set that waits for validation; None: there is none."""
    return s.scalar(select(Dataset.id).where(*_waiting()).order_by(Dataset.id).limit(1))


def claim(s: Session, dataset_id: str, lease_seconds: float) -> Dataset | None:
    """Claim the data set for a new attempt; None: another relay has claimed it."""
    return s.scalars(
        update(Dataset)
        .where(Dataset.id == dataset_id, *_waiting())
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
    """Record the progress of the attempt and how the images will be prepared, and renew its lease.

    Raises `FencedError`.
    """
    given = {"progress": progress, "preparation": preparation}
    values = {name: value for name, value in given.items() if value is not None}
    _write(s, dataset_id, attempt, lease_until=clock.now() + lease_seconds, **values)


def mark_ready(
    s: Session, dataset_id: str, attempt: int, info: DatasetInfo, held_out: int, preparation: dict[str, Any]
) -> None:
    """Mark the data set as ready, with what the attempt has unpacked, and how. Raises `FencedError`."""
    made = {"num_held_out": held_out, "preparation": preparation, "sha256": info.sha256, **_shape(info)}
    _write(s, dataset_id, attempt, status=READY, **made, **_ENDED)


def mark_failed(s: Session, dataset_id: str, attempt: int, problems: Sequence[dict[str, Any]]) -> None:
    """Mark the data set as failed, with its problems. Raises `FencedError`."""
    _write(s, dataset_id, attempt, status=FAILED, problems=list(problems), **_ENDED)


def get(s: Session, name_or_id: str) -> Dataset:
    """Return the data set of that name or id. Raises `DatasetNotFoundError`."""
    row = s.scalars(select(Dataset).where(_named(name_or_id)).limit(1)).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name_or_id)
    return row


def of_job(s: Session, job: Job) -> Dataset:
    """Return the data set that a job is trained on: the one of its tenant, else the shared one of that name.

    Raises `DatasetNotFoundError`.
    """
    named = (Dataset.name == job.dataset, Dataset.tenant.in_([job.tenant, SHARED]))
    row = s.scalars(select(Dataset).where(*named).order_by(Dataset.tenant.desc()).limit(1)).one_or_none()
    if row is None:
        raise DatasetNotFoundError(job.dataset)
    return row


def lock_ready(s: Session, name_or_id: str) -> Dataset:
    """Return a ready data set, locked so that it cannot be deleted until this transaction ends.

    Raises `DatasetNotFoundError`, `DatasetNotReadyError`.
    """
    query = select(Dataset).where(_named(name_or_id)).limit(1).with_for_update(read=True, key_share=True)
    row = s.scalars(query).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name_or_id)
    if row.status != READY:
        raise DatasetNotReadyError(row.name, row.status, "" if row.uploaded else row.problems[0]["detail"])
    return row


def delete(s: Session, name_or_id: str) -> str:
    """Delete the row of an uploaded data set that no job uses; return its id. The caller then deletes its files.

    Raises `DatasetNotFoundError`, `DatasetBuiltInError`, `DatasetInUseError`.
    """
    # With the lock, a job that is being stored for it either is counted here or no longer finds the data set.
    row = s.scalars(select(Dataset).where(_named(name_or_id)).limit(1).with_for_update()).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name_or_id)
    if not row.uploaded:
        raise DatasetBuiltInError(row.name)
    uses_it = (Job.tenant == row.tenant, Job.dataset == row.name)
    count, newest = s.execute(select(func.count(), func.max(Job.id)).where(*uses_it)).one()
    if count:
        raise DatasetInUseError(row.name, newest, count)
    s.execute(sql_delete(Dataset).where(Dataset.id == row.id))
    acts.record(s, "dataset.delete", row.id, name=row.name)
    return row.id


def names(s: Session) -> list[str]:
    """Return the names of the ready data sets, sorted."""
    return list(s.scalars(select(Dataset.name).where(Dataset.status == READY).order_by(Dataset.name)))


def ids_with_files(s: Session) -> set[str]:
    """Return the ids of the data sets whose files must be kept: all that did not fail."""
    return set(s.scalars(select(Dataset.id).where(Dataset.status != FAILED)))


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Dataset]:
    """Return a page of data sets in order of registration."""
    query = select(Dataset).order_by(Dataset.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Dataset.id > decode(cursor, "datasets"))
    return cut(list(s.scalars(query)), limit, "datasets", lambda row: row.id)


def info(row: Dataset) -> DatasetInfo:
    """Return the row in the form that the spec's checks and the trainer read."""
    return DatasetInfo(
        name=row.name,
        num_images=row.num_images,
        channels=row.channels,
        height=row.height,
        width=row.width,
        classes=tuple(DatasetClass(**c) for c in row.classes),
        sha256=row.sha256,
    )


def _builtin(name: str) -> tuple[ColumnElement[bool], ...]:
    return Dataset.name == name, Dataset.tenant == SHARED


def _availability(why_not: str) -> tuple[str, list[dict[str, Any]]]:
    """Return status and problems of a built-in data set that can be loaded, or cannot for the given reason."""
    return (FAILED, [{"file": None, "code": "not-installed", "detail": why_not}]) if why_not else (READY, [])


_ENDED: Final[dict[str, Any]] = {"progress": None, "lease_until": None}


def _waiting() -> tuple[ColumnElement[bool], ...]:
    unclaimed = or_(Dataset.lease_until.is_(None), Dataset.lease_until < clock.now())
    # A lease that would last longer than the longest one was written before a clock was set back.
    return Dataset.status == VALIDATING, or_(unclaimed, Dataset.lease_until > clock.now() + _LONGEST_LEASE_SECONDS)


def _named(name_or_id: str) -> ColumnElement[bool]:
    # A name of an earlier version may be in another normal form than the one in which it is asked for.
    return or_(Dataset.name.in_([name_or_id, nfc(name_or_id)]), Dataset.id == name_or_id)


def _shape(info: DatasetInfo) -> dict[str, Any]:
    classes = [c.model_dump() for c in info.classes]
    sizes = {"num_images": info.num_images, "channels": info.channels, "height": info.height, "width": info.width}
    return {**sizes, "classes": classes}


def _fill(row: Dataset, info: DatasetInfo) -> None:
    for name, value in _shape(info).items():
        setattr(row, name, value)


def _write(s: Session, dataset_id: str, attempt: int, **values: Any) -> None:
    """Set columns as this attempt. Raises `FencedError` if the attempt is over or the data set was deleted."""
    held = (Dataset.id == dataset_id, Dataset.attempt == attempt, Dataset.status == VALIDATING)
    done = cast(CursorResult[Any], s.execute(update(Dataset).where(*held).values(**values)))
    if done.rowcount == 0:
        raise FencedError(f"Attempt {attempt} no longer holds the data set {dataset_id}.")
