"""The table of data sets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Index,
    String,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base, OfTenant


class Dataset(OfTenant, Base):
    """A registered data set. Only the worker reads its images.

    An uploaded data set is `validating` until a relay has checked and unpacked it. Each try is an attempt with a
    lease and a number that its writes carry, as for a job.
    """

    __tablename__ = "datasets"
    __table_args__ = (Index("uq_datasets_name", "tenant", "name", unique=True),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    num_images: Mapped[int]
    channels: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    classes: Mapped[list[Any]]
    sha256: Mapped[str | None] = mapped_column(String(64))
    problems: Mapped[list[Any]]
    """If the validation failed: [{"file", "code", "detail"}]."""
    uploaded: Mapped[bool] = mapped_column(default=False, server_default=false())
    asked_side: Mapped[int | None]
    """The requested width and height of the images, pixels; null: chosen from the images."""
    preparation: Mapped[dict[str, Any] | None]
    """{"side", "channels", "words"}: how every image is prepared; once ready also "notes", a list of sentences."""
    num_held_out: Mapped[int | None]
    progress: Mapped[dict[str, Any] | None]
    """While validating: {"phase", "done", "total"}."""
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    lease_until: Mapped[float | None]
    created_at: Mapped[float]
