"""What a request for samples means: which images, of which class and seed, and the ETag that follows from them.

Pure: no database, no sampler. The sampler draws what the plan says and knows no labels' names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from api.http.errors import BadParametersError
from api.http.headers import etag_of
from api.schemas import Manifest, ManifestCheckpoint, ManifestImage
from gan.spec import DatasetClass, SpecProblem
from jobs.errors import NotConditionalError, UnknownLabelError

RENDERER_VERSION: Final = "2"
"""Raise it when the same plan would be drawn as other bytes: it is part of every ETag."""

MOST_IMAGES: Final = 1024
MOST_A_LABEL: Final = 64
LAST_SEED: Final = 2**63 - MOST_A_LABEL

FORMATS: Final = {
    "image/png": "png",
    "application/zip": "zip",
    "application/json": "json",
    "application/x-npz": "npz",
}
"""By media type; the first is the default."""


@dataclass(frozen=True)
class SamplePlan:
    """`rows` rows of equally many images, in reading order; image i of a row has seed + i."""

    classes: tuple[DatasetClass | None, ...]
    """One a row; (None,) for an unconditional generator."""
    n: int
    seed: int
    truncation: float

    @property
    def pairs(self) -> list[tuple[DatasetClass | None, int]]:
        """Every image: its class and its seed."""
        return [(found, self.seed + i) for found in self.classes for i in range(self.n)]

    @property
    def images(self) -> list[ManifestImage]:
        """Every image, as a manifest says it."""
        return [
            ManifestImage(
                index=index, class_id=found.id if found else None, label=found.label if found else None, seed=seed
            )
            for index, (found, seed) in enumerate(self.pairs)
        ]

    @property
    def rows(self) -> int:
        """Rows of the grid: one a class; without classes, as near to a square as they fill."""
        return len(self.classes) if self.classes != (None,) else square_rows(self.n)

    @property
    def row_labels(self) -> list[str]:
        """What stands to the left of each row; nothing without classes."""
        return [found.label for found in self.classes if found]

    def etag(self, checkpoint_id: str, format: str) -> str:
        """Strong, and known before anything is drawn: all that the bytes depend on."""
        rows = [[found.id, found.label] if found else None for found in self.classes]
        facts = [RENDERER_VERSION, checkpoint_id, format, self.truncation, rows, self.n, self.seed]
        return etag_of(json.dumps(facts))

    def manifest(self, job_id: str, checkpoint_id: str, step: int) -> Manifest:
        """All that determines the images."""
        source = ManifestCheckpoint(id=checkpoint_id, step=step)
        return Manifest(job_id=job_id, checkpoint=source, truncation=self.truncation, images=self.images)

    def order(self, checkpoint_id: str, format: str, manifest: Manifest | None) -> dict[str, Any]:
        """The sampler's request; with the manifest where it is part of the file."""
        return {
            "checkpoint_id": checkpoint_id,
            "images": [{"class_id": found.id if found else None, "seed": seed} for found, seed in self.pairs],
            "truncation": self.truncation,
            "format": format,
            "rows": self.rows,
            "row_labels": self.row_labels,
            "manifest": manifest.model_dump(mode="json") if manifest else {},
        }


def square_rows(count: int) -> int:
    """Rows that `count` images fill, as near to a square as can be."""
    return max(d for d in range(1, math.isqrt(count) + 1) if count % d == 0)


def make_plan(
    labels: Sequence[str], classes: Sequence[DatasetClass], *, n: int, seed: int, truncation: float
) -> SamplePlan:
    """The plan for `n` images of each of `labels` (of every class when there are none); `classes` is empty for an
    unconditional generator.

    Raises `UnknownLabelError`, `NotConditionalError`, `BadParametersError` (more than 1024 images).
    """
    if labels and not classes:
        raise NotConditionalError
    # Counted before they are looked up, which takes its time for each.
    count = len(labels) or len(classes) or 1
    if count * n > MOST_IMAGES:
        each = MOST_IMAGES // count
        hint = f"ask for {each} each" if each else f"ask for {MOST_IMAGES} labels at most"
        detail = f"{count} labels of {n} images are more than {MOST_IMAGES}; {hint}."
        raise BadParametersError([SpecProblem(pointer="/n", code="out-of-range", detail=detail)])
    asked: tuple[DatasetClass | None, ...] = tuple(find_class(label, classes) for label in labels)
    return SamplePlan(asked or tuple(classes) or (None,), n, seed, truncation)


def find_class(label: str, classes: Sequence[DatasetClass]) -> DatasetClass:
    """The class of that name; failing that, of that id. Raises `UnknownLabelError` naming those there are."""
    by_name = {c.label: c for c in reversed(classes)}
    by_id = {str(c.id): c for c in classes}
    found = by_name.get(label) or by_id.get(label)
    if found is None:
        raise UnknownLabelError(label, [c.label for c in classes])
    return found
