"""Data sets as response bodies."""

from __future__ import annotations

from typing import Literal, cast

from api.schemas.datasets import CountedClass, DatasetView, FileProblem, IntakeProgress, Preparation
from jobs.models import Dataset


def dataset_view(row: Dataset) -> DatasetView:
    """Return a data set."""
    preparation = dict(row.preparation or {})
    notes = preparation.pop("notes", [])
    return DatasetView(
        id=row.id,
        name=row.name,
        status=cast(Literal["validating", "ready", "failed"], row.status),
        num_images=row.num_images,
        channels=row.channels,
        height=row.height,
        width=row.width,
        classes=[CountedClass(**c) for c in row.classes],
        sha256=row.sha256,
        problems=[FileProblem(**p) for p in row.problems],
        num_held_out=row.num_held_out,
        preparation=None if row.preparation is None else Preparation(**preparation),
        notes=notes,
        progress=None if row.progress is None else IntakeProgress(**row.progress),
    )
