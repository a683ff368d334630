"""Tenants: what each may take, what each has taken, and whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from jobs import clock
from jobs.errors import QuotaExceededError, QuotaUsedUpError, TenantNotFoundError
from jobs.models import Checkpoint, Dataset, Job, Preview, Tenant
from jobs.status import Status
from jobs.store.callers import acts
from jobs.store.pages import Page, cut, decode

QUOTAS: Final = ("max_queued", "max_running", "device_hours", "storage_mb")

_HOUR: Final = 3600
_MEGABYTE: Final = 1_000_000
_WAITING: Final = (Status.QUEUED.value, Status.PAUSED.value)


@dataclass(frozen=True)
class Usage:
    """What a tenant has taken."""

    queued: int
    """Paused ones among them."""
    running: int
    device_hours: float
    """Of attempts that are over."""
    storage_mb: float


def get_or_create(s: Session, tenant: str) -> Tenant:
    """The record of a tenant; a new one has no limits."""
    row = s.get(Tenant, tenant)
    if row is None:
        row = Tenant(id=tenant, created_at=clock.read(s))
        s.add(row)
        s.flush()
    return row


def get(s: Session, tenant: str) -> Tenant:
    """Raises `TenantNotFoundError`."""
    row = s.get(Tenant, tenant)
    if row is None:
        raise TenantNotFoundError(tenant)
    return row


def set_quotas(s: Session, tenant: str, quotas: dict[str, Any]) -> Tenant:
    """Set some of its `QUOTAS`; None: no limit. One that is not on record yet is from then on."""
    row = get_or_create(s, tenant)
    for name, value in quotas.items():
        assert name in QUOTAS
        setattr(row, name, value)
    s.flush()
    acts.record(s, "tenant.limit", tenant, tenant=tenant, **quotas)
    return row


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Tenant]:
    """In order of id."""
    query = select(Tenant).order_by(Tenant.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Tenant.id > decode(cursor, "tenants"))
    return cut(list(s.scalars(query)), limit, "tenants", lambda row: row.id)


def usage(s: Session, row: Tenant) -> Usage:
    """What it has taken so far."""
    return Usage(
        queued=_count(s, row.id, *_WAITING),
        running=_count(s, row.id, Status.RUNNING.value),
        device_hours=row.device_seconds / _HOUR,
        storage_mb=stored_bytes(s, row.id) / _MEGABYTE,
    )


def admit_job(s: Session, tenant: str) -> None:
    """Let one more job of the tenant's in, in this transaction. Raises `QuotaExceededError`, `QuotaUsedUpError`."""
    if (row := _limited(s, tenant)) is None:
        return
    if row.max_queued is not None and (queued := _count(s, tenant, *_WAITING)) >= row.max_queued:
        detail = f"{queued} of {row.max_queued} jobs wait already; submit it when one of them has begun."
        raise QuotaExceededError(detail)
    if row.device_hours is not None and row.device_seconds >= row.device_hours * _HOUR:
        detail = f"All {row.device_hours:g} device hours are used up; an administrator can grant more."
        raise QuotaUsedUpError(detail)
    _admit_bytes(s, row, 0)


def admit_bytes(s: Session, tenant: str, more: int) -> None:
    """Let `more` bytes of the tenant's in, in this transaction. Raises `QuotaUsedUpError`."""
    if (row := _limited(s, tenant)) is not None:
        _admit_bytes(s, row, more)


def lock(s: Session, tenant: str) -> None:
    """Keep its record from whoever else would hold it until this transaction ends: what is counted stays so."""
    # Rows that refer to it may be written all the while.
    s.refresh(get_or_create(s, tenant), with_for_update={"key_share": True})


def _limited(s: Session, tenant: str) -> Tenant | None:
    """The record of a tenant, held until this transaction ends; None: it has no limits, so that nobody need wait."""
    row = s.get_one(Tenant, tenant)
    if all(getattr(row, name) is None for name in QUOTAS):
        return None
    # Of two that come at the same time, the second counts the first.
    s.refresh(row, with_for_update=True)
    return row


def _admit_bytes(s: Session, row: Tenant, more: int) -> None:
    if row.storage_mb is None:
        return
    taken = stored_bytes(s, row.id) + more
    if taken > row.storage_mb * _MEGABYTE:
        detail = (
            f"Checkpoints, previews and data sets would take {taken / _MEGABYTE:,.0f} MB of {row.storage_mb:,}; "
            "delete jobs or data sets, or ask an administrator for more."
        )
        raise QuotaUsedUpError(detail)


def stored_bytes(s: Session, tenant: str) -> int:
    """Of checkpoints that can be had, of previews, and of the images of data sets that are ready."""
    saved = Checkpoint.bytes + Checkpoint.weights_bytes
    pixels = Dataset.num_images * Dataset.channels * Dataset.height * Dataset.width
    sums = (
        select(func.sum(saved)).join(Job).where(Job.tenant == tenant, Checkpoint.state == "ready"),
        select(func.sum(Preview.bytes)).join(Job).where(Job.tenant == tenant),
        select(func.sum(pixels)).where(Dataset.tenant == tenant),
    )
    return sum(int(s.scalar(each) or 0) for each in sums)


def add_device_time(s: Session, tenant: str, seconds: float, devices: int) -> None:
    """An attempt is over that has held `devices` for so long."""
    more = Tenant.device_seconds + seconds * devices
    s.execute(update(Tenant).where(Tenant.id == tenant).values(device_seconds=more))


def _count(s: Session, tenant: str, *statuses: str) -> int:
    query = select(func.count()).select_from(Job).where(Job.tenant == tenant, Job.status.in_(statuses))
    return s.execute(query).scalar_one()
