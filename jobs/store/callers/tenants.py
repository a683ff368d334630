"""Tenants: their quotas and what they have used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from jobs import clock
from jobs.errors import QuotaExceededError, QuotaUsedUpError, TenantNotFoundError
from jobs.models import Checkpoint, Dataset, Job, Preview, Tenant, TenantTurn
from jobs.status import Status
from jobs.store.callers import acts
from jobs.store.pages import Page, cut, decode

QUOTAS: Final = ("max_queued", "max_running", "device_hours", "storage_mb")

_HOUR: Final = 3600
_MEGABYTE: Final = 1_000_000
_WAITING: Final = (Status.QUEUED.value, Status.PAUSED.value)


@dataclass(frozen=True)
class Usage:
    """What a tenant has used of its quotas."""

    queued: int
    """The number of queued and paused jobs."""
    running: int
    device_hours: float
    """The device hours of ended attempts."""
    storage_mb: float


def get_or_create(s: Session, tenant: str) -> Tenant:
    """Return the record of a tenant. A new one has no limits."""
    row = s.get(Tenant, tenant)
    if row is None:
        row = Tenant(id=tenant, created_at=clock.read(s))
        s.add(row)
        s.flush()
        s.add(TenantTurn(tenant=tenant))
        s.flush()
    return row


def get(s: Session, tenant: str) -> Tenant:
    """Return a tenant. Raises `TenantNotFoundError`."""
    row = s.get(Tenant, tenant)
    if row is None:
        raise TenantNotFoundError(tenant)
    return row


def set_quotas(s: Session, tenant: str, quotas: dict[str, Any]) -> Tenant:
    """Set some of the tenant's `QUOTAS` (None: no limit), and create the tenant if it does not exist yet."""
    row = get_or_create(s, tenant)
    for name, value in quotas.items():
        assert name in QUOTAS
        setattr(row, name, value)
    s.flush()
    acts.record(s, "tenant.limit", tenant, tenant=tenant, **quotas)
    return row


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Tenant]:
    """Return a page of tenants in order of id."""
    query = select(Tenant).order_by(Tenant.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Tenant.id > decode(cursor, "tenants"))
    return cut(list(s.scalars(query)), limit, "tenants", lambda row: row.id)


def usage(s: Session, row: Tenant) -> Usage:
    """Return what the tenant has used so far."""
    return Usage(
        queued=_count(s, row.id, *_WAITING),
        running=_count(s, row.id, Status.RUNNING.value),
        device_hours=row.device_seconds / _HOUR,
        storage_mb=stored_bytes(s, row.id) / _MEGABYTE,
    )


def admit_job(s: Session, tenant: str) -> None:
    """Check in this transaction that the tenant may submit one more job.

    Raises `QuotaExceededError`, `QuotaUsedUpError`.
    """
    if (row := _lock_if_limited(s, tenant)) is None:
        return
    if row.max_queued is not None and _has(s, tenant, row.max_queued, *_WAITING):
        queued = _count(s, tenant, *_WAITING)
        detail = f"{queued} of {row.max_queued} jobs already wait. Submit this one when one of them has started."
        raise QuotaExceededError(detail)
    if row.device_hours is not None and row.device_seconds >= row.device_hours * _HOUR:
        detail = f"All {row.device_hours:g} device hours are used up. An administrator can grant more."
        raise QuotaUsedUpError(detail)
    _require_storage(s, row, 0)


def admit_bytes(s: Session, tenant: str, more: int) -> None:
    """Check in this transaction that the tenant may store `more` bytes. Raises `QuotaUsedUpError`."""
    if (row := _lock_if_limited(s, tenant)) is not None:
        _require_storage(s, row, more)


def lock(s: Session, tenant: str) -> None:
    """Lock the tenant's record until this transaction ends, so that what it counts stays the same."""
    # FOR NO KEY UPDATE: rows with a foreign key to the tenant may still be written.
    s.refresh(get_or_create(s, tenant), with_for_update={"key_share": True})


def _lock_if_limited(s: Session, tenant: str) -> Tenant | None:
    """Lock and return the record of a tenant; None if it has no limits, so that no transaction has to wait."""
    row = s.get_one(Tenant, tenant)
    if all(getattr(row, name) is None for name in QUOTAS):
        return None
    # The lock makes two concurrent requests follow each other: the second one counts the first.
    s.refresh(row, with_for_update=True)
    return row


def _require_storage(s: Session, row: Tenant, more: int) -> None:
    if row.storage_mb is None:
        return
    taken = stored_bytes(s, row.id) + more
    if taken > row.storage_mb * _MEGABYTE:
        detail = (
            f"Checkpoints, previews and data sets would take {taken / _MEGABYTE:,.0f} MB of {row.storage_mb:,} MB. "
            "Delete jobs or data sets, or ask an administrator for more."
        )
        raise QuotaUsedUpError(detail)


def stored_bytes(s: Session, tenant: str) -> int:
    """Return the bytes of the tenant's ready checkpoints, its previews and the images of its data sets."""
    saved = Checkpoint.bytes + Checkpoint.weights_bytes
    pixels = Dataset.num_images * Dataset.channels * Dataset.height * Dataset.width
    sums = (
        select(func.sum(saved)).join(Job).where(Job.tenant == tenant, Checkpoint.state == "ready"),
        select(func.sum(Preview.bytes)).join(Job).where(Job.tenant == tenant),
        select(func.sum(pixels)).where(Dataset.tenant == tenant),
    )
    return sum(int(s.scalar(each) or 0) for each in sums)


def add_device_time(s: Session, tenant: str, seconds: float, devices: int) -> None:
    """Add the time of an ended attempt, which ran for `seconds` on that many devices."""
    more = Tenant.device_seconds + seconds * devices
    s.execute(update(Tenant).where(Tenant.id == tenant).values(device_seconds=more))


def _count(s: Session, tenant: str, *statuses: str) -> int:
    query = select(func.count()).select_from(Job).where(Job.tenant == tenant, Job.status.in_(statuses))
    return s.execute(query).scalar_one()


def _has(s: Session, tenant: str, most: int, *statuses: str) -> bool:
    """Return whether the tenant has at least `most` such jobs; no more of them are read."""
    first = select(Job.id).where(Job.tenant == tenant, Job.status.in_(statuses)).limit(most).subquery()
    return s.execute(select(func.count()).select_from(first)).scalar_one() >= most
