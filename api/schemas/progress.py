"""Response bodies about what a running job reports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from api.schemas.base import Number, ResponseModel


class EventView(ResponseModel):
    """One event of a job."""

    seq: int
    type: str
    attempt: int
    data: dict[str, Any]
    actor: str | None = Field(description="The id of the key of the request, or local; null for the service itself.")
    at: datetime


class MetricView(ResponseModel):
    """The summary of a curve; last, min and max are of its finite values."""

    name: str
    last: Number
    last_step: int
    min: Number
    max: Number
    count: int
    nonfinite_count: int


# Documented as a list of numbers: many generators and readers of OpenAPI documents do not support tuples.
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
    source_points: int = Field(description="The points of all curves before the reduction.")
    reduce: Literal["minmax", "none"]
    nonfinite_count: int = Field(description="The values of the complete curves that are NaN or infinite.")


class PreviewView(ResponseModel):
    """A grid of images that were drawn from the job's fixed latents."""

    step: int
    url: str


class CheckpointView(ResponseModel):
    """A checkpoint: the saved state of a training. bytes and sha256 describe the file of part=full."""

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
    """The quality of the generated images at a step, and how it was measured."""

    step: int
    attempt: int
    is_best: bool = Field(description="True for the best evaluation of the job.")
    metrics: dict[str, Number] = Field(description="The metrics by name, such as fcd, coverage, label_accuracy.")
    reference: dict[str, Number] = Field(
        description="The same metrics for held-out real images: the best values that a generator can expect."
    )
    class_histogram: dict[str, Number] = Field(
        description="For each class, the share of the generated images that the classifier assigns to it."
    )
    real_class_histogram: dict[str, Number] = Field(description="The same shares for the real images.")
    within_class_diversity: dict[str, Number] = Field(
        description="For each class, the mean pixel distance between generated images, divided by that between real "
        "ones: 1 means equally varied."
    )
    label_accuracy_by_class: dict[str, Number] = Field(
        description="For each class, the share of the images generated for it that the classifier assigns to it."
    )
    provenance: dict[str, Any] = Field(
        description="How it was measured: feature network, numbers of images, split, weights, seed, versions."
    )
    created_at: datetime
