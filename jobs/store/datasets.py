"""Registered data sets: what they are; their images are the worker's business."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from gan.spec import DatasetClass, DatasetInfo
from jobs import clock
from jobs.errors import DatasetNotFound
from jobs.ids import new_id
from jobs.models import Dataset
from jobs.store.pages import Page, cut, decode


def register(s: Session, info: DatasetInfo) -> Dataset:
    """Store `info` under its name, or bring the row of that name up to it."""
    row = s.scalars(select(Dataset).where(Dataset.name == info.name)).one_or_none()
    if row is None:
        row = Dataset(id=new_id("ds"), name=info.name, created_at=clock.read(s))
        s.add(row)
    row.status, row.problems, row.sha256 = "ready", [], info.sha256
    row.num_images, row.channels, row.height, row.width = info.num_images, info.channels, info.height, info.width
    row.classes = [c.model_dump() for c in info.classes]
    s.flush()
    return row


def get(s: Session, name_or_id: str) -> Dataset:
    """The data set of that name or id. Raises `DatasetNotFound`."""
    query = select(Dataset).where(or_(Dataset.name == name_or_id, Dataset.id == name_or_id))
    row = s.scalars(query.limit(1)).one_or_none()
    if row is None:
        raise DatasetNotFound(name_or_id)
    return row


def names(s: Session) -> list[str]:
    """The names that a job may ask for."""
    return list(s.scalars(select(Dataset.name).where(Dataset.status == "ready").order_by(Dataset.name)))


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
