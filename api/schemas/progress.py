"""Response bodies about what a running job reports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from api.schemas.base import Number, ResponseModel


class EventView(ResponseModel):
    """Something that happened to a job."""

    seq: int
    type: str
    attempt: int
    data: dict[str, Any]
    actor: str | None = Field(description="The key that asked for it, or local; null: the service itself.")
    at: datetime


class MetricView(ResponseModel):
    """A curve in a line; last, min and max are of its finite values."""

    name: str
    last: Number
    last_step: int
    min: Number
    max: Number
    count: int
    nonfinite_count: int


# As a list of numbers: programs that are made from the document, and some that read it, know no tuples.
Point = Annotated[
    tuple[int, Number],
    WithJsonSchema(
        {
            "type": "array",
            "items": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "minItems": 2,
            "maxItems": 2,
            "description": "[step, value]; a value that is NaN or infinite is null.",
        }
    ),
]


class SeriesView(ResponseModel):
    """Curves as [step, value] pairs; a value that is NaN or infinite is null."""

    series: dict[str, list[Point]]
    reduced: bool
    source_points: int = Field(description="Points of all curves before they were reduced.")
    reduce: Literal["minmax", "none"]
    nonfinite_count: int = Field(description="How many values of the whole curves are NaN or infinite.")


class PreviewView(ResponseModel):
    """A grid of the job's fixed latents."""

    step: int
    url: str


class CheckpointView(ResponseModel):
    """Saved state: to go on from, and to draw from. bytes and sha256 are of part=full."""

    id: str
    step: int
    attempt: int
    metrics: dict[str, float | None]
    is_last: bool
    is_best: bool
    bytes: int
    sha256: str
    created_at: datetime


class EvaluationView(ResponseModel):
    """How good the images were at a step, and what the figures rest on."""

    step: int
    attempt: int
    is_best: bool = Field(description="Whether none of the job's others is better.")
    metrics: dict[str, Number] = Field(description="Such as fcd, coverage, label_accuracy.")
    reference: dict[str, Number] = Field(description="The same of real images that were held out: the ceiling.")
    class_histogram: dict[str, Number] = Field(description="Share of the generated images that is taken for a class.")
    real_class_histogram: dict[str, Number] = Field(description="The same of the real images.")
    within_class_diversity: dict[str, Number] = Field(
        description="Pixel distance between fakes of a class over that between its reals: 1 is as varied as they are."
    )
    label_accuracy_by_class: dict[str, Number] = Field(
        description="Share of the fakes asked to be of a class that is taken for it."
    )
    provenance: dict[str, Any] = Field(description="Feature network, counts, split, weights, seed, versions.")
    created_at: datetime
