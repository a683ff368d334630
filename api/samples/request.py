"""The plan of a request for samples: the class and the seed of each image, and the ETag that follows from them.

This module uses no database and no sampler. The sampler draws the images of the plan; it does not know the labels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from api.http.errors import BadParametersError
from api.http.headers import etag_of
from api.schemas.samples import Manifest, ManifestCheckpoint, ManifestImage
from gan.spec import DatasetClass, SpecProblem, plain_label
from jobs.errors import NotConditionalError, UnknownLabelError

RENDERER_VERSION: Final = "3"
"""A part of every ETag. Raise it when the same plan would give other bytes."""

MOST_IMAGES: Final = 1024
MOST_PER_LABEL: Final = 64
LAST_SEED: Final = 2**63 - MOST_PER_LABEL

FORMATS: Final = {
    "image/png": "png",
    "application/zip": "zip",
    "application/x-npz": "npz",
    "application/octet-stream": "png",
    "application/json": "json",
}
"""The sampler's formats by media type; the first is the default.

A generated client reads the response as the first type of this list that it knows. Many know application/json and
application/octet-stream only, and would read the default, a picture, as JSON.
"""


@dataclass(frozen=True)
class SamplePlan:
    """The images of a request, row by row. Every row has `n` images, and image i of a row has seed + i."""

    classes: tuple[DatasetClass | None, ...]
    """The class of each row; (None,) for an unconditional generator."""
    n: int
    seed: int
    truncation: float

    @property
    def pairs(self) -> list[tuple[DatasetClass | None, int]]:
        """The class and the seed of every image."""
        return [(found, self.seed + i) for found in self.classes for i in range(self.n)]

    @property
    def images(self) -> list[ManifestImage]:
        """Every image, as an entry of the manifest."""
        return [
            ManifestImage(
                index=index, class_id=found.id if found else None, label=found.label if found else None, seed=seed
            )
            for index, (found, seed) in enumerate(self.pairs)
        ]

    @property
    def rows(self) -> int:
        """The number of rows of the grid: one per class; without classes, the grid is as square as possible."""
        return len(self.classes) if self.classes != (None,) else square_rows(self.n)

    @property
    def row_labels(self) -> list[str]:
        """The text to the left of each row; empty without classes."""
        return [found.label for found in self.classes if found]

    def etag(self, checkpoint_id: str, format: str) -> str:
        """Return the strong ETag of the response, from everything that its bytes depend on, before it is drawn."""
        rows = [[found.id, found.label] if found else None for found in self.classes]
        facts = [RENDERER_VERSION, checkpoint_id, format, self.truncation, rows, self.n, self.seed]
        return etag_of(json.dumps(facts))

    def manifest(self, job_id: str, checkpoint_id: str, step: int) -> Manifest:
        """Return the manifest, with everything that determines the images."""
        source = ManifestCheckpoint(id=checkpoint_id, step=step)
        return Manifest(job_id=job_id, checkpoint=source, truncation=self.truncation, images=self.images)

    def sampler_request(self, checkpoint_id: str, format: str, manifest: Manifest | None) -> dict[str, Any]:
        """Return the body of the request to the sampler; with the manifest if it is part of the file."""
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
    """Return the number of rows that `count` images fill completely, in a grid that is as square as possible."""
    return max(d for d in range(1, math.isqrt(count) + 1) if count % d == 0)


def make_plan(
    labels: Sequence[str], classes: Sequence[DatasetClass], *, n: int, seed: int, truncation: float
) -> SamplePlan:
    """Return the plan for `n` images of each of `labels`, or of every class if there are none.

    `classes` is empty for an unconditional generator. Raises `UnknownLabelError`, `NotConditionalError`, and
    `BadParametersError` for more than 1024 images.
    """
    if labels and not classes:
        raise NotConditionalError
    # Counted before they are looked up: a request may have very many labels, and each lookup takes time.
    count = len(labels) or len(classes) or 1
    if count * n > MOST_IMAGES:
        each = MOST_IMAGES // count
        hint = f"ask for {each} of each" if each else f"ask for {MOST_IMAGES} labels at most"
        detail = f"{count} labels with {n} images each are more than {MOST_IMAGES} images; {hint}."
        raise BadParametersError([SpecProblem(pointer="/n", code="out-of-range", detail=detail)])
    found: tuple[DatasetClass | None, ...] = tuple(find_class(label, classes) for label in labels)
    return SamplePlan(found or tuple(classes) or (None,), n, seed, truncation)


def find_class(label: str, classes: Sequence[DatasetClass]) -> DatasetClass:
    """Return the class with this name, or else with this id. Raises `UnknownLabelError` with the known names.

    Names are compared in one spelling: a data set of an earlier version may have labels in another normal form.
    """
    by_name = {plain_label(c.label): c for c in reversed(classes)}
    by_id = {str(c.id): c for c in classes}
    found = by_name.get(plain_label(label)) or by_id.get(label.strip())
    if found is None:
        raise UnknownLabelError(label, [c.label for c in classes])
    return found
