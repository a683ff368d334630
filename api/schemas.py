"""What the service answers, as OpenAPI documents it. Times are RFC 3339 in UTC; what is not finite is null."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from gan.spec import TrainSpec
from jobs.status import Status

T = TypeVar("T")
Number = Annotated[float | None, Field(description="null when it is NaN or infinite")]


class Answer(BaseModel):
    """What all of them are."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listed(Answer, Generic[T]):
    """A page of a list."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


class FieldError(Answer):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="RFC 6901 pointer into the body, or / and the parameter's name.")
    code: str
    detail: str


class Problem(BaseModel):
    """RFC 9457: every answer that is not 2xx or 304. Some codes bring members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="Stable and for machines.")
    request_id: str | None
    errors: list[FieldError] = Field([], description="With 422.")


class Reason(Answer):
    """Why a job stands where it stands."""

    code: str
    message: str


class JobError(Answer):
    """Why a job failed, and what to do."""

    code: str
    message: str
    retryable: bool
    step: int | None
    hint: str | None


class Progress(Answer):
    """How far a job is."""

    step: int
    total_steps: int
    fraction: float = Field(ge=0, le=1)
    images_seen: int = Field(description="Real images shown to D.")
    images_per_second: float | None
    eta_seconds: int | None = Field(description="null while the rate is not known, and when nothing is left to do.")
    updated_at: datetime | None


class Place(Answer):
    """Where a queued job stands in the queue."""

    position: int = Field(ge=1)
    jobs_ahead: int = Field(ge=0)


class Evidence(Answer):
    """A figure, and the threshold that it is past."""

    metric: str
    value: Number
    threshold: Number


class Remedy(Answer):
    """A field to set."""

    pointer: str = Field(description="RFC 6901 pointer into the body of POST /v1/jobs.")
    value: Any = Field(description="The whole new value of that field.")
    why: str


class Finding(Answer):
    """One observation about the training. All of its remedy together makes a body that is taken again."""

    code: str = Field(description="Stable and for machines.")
    severity: Literal["info", "warning", "critical"]
    began_at_step: int
    found_at_step: int
    message: str
    evidence: list[Evidence]
    remedy: list[Remedy]


class Health(Answer):
    """A verdict on the training itself, and the findings that hold; unknown until somebody has looked."""

    verdict: Literal["unknown", "healthy", "warning", "failing"]
    findings: list[Finding]


class JobWorker(Answer):
    """Who trains it, or trained it last; null while nobody has."""

    id: str
    device: str | None
    heartbeat_at: datetime | None


class Links(Answer):
    """Where the rest of a job is."""

    self: str
    events: str
    metrics: str
    checkpoints: str
    evaluations: str
    samples: str


class JobView(Answer):
    """A job as its caller sees it."""

    id: str
    name: str | None
    labels: dict[str, str]
    status: Status
    status_reason: Reason | None
    attempt: int
    allowed_actions: list[str]
    progress: Progress
    queue: Place | None
    latest_metrics: dict[str, float | None]
    health: Health
    best_checkpoint_id: str | None
    last_checkpoint_id: str | None
    worker: JobWorker | None
    error: JobError | None
    spec: TrainSpec
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    retry_of: str | None
    links: Links


class Estimate(Answer):
    """What a spec would take."""

    model_config = ConfigDict(extra="allow")

    generator_parameters: int
    discriminator_parameters: int
    memory_bytes: int | None
    checkpoint_bytes: int
    disk_bytes: int


class DryRun(Answer):
    """The resolved spec and its cost; nothing was stored."""

    spec: TrainSpec
    estimate: Estimate


class EventView(Answer):
    """Something that happened to a job."""

    seq: int
    type: str
    attempt: int
    data: dict[str, Any]
    actor: str | None = Field(description="The key that asked for it, or local; null: the service itself.")
    at: datetime


class MetricView(Answer):
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


class SeriesView(Answer):
    """Curves as [step, value] pairs; a value that is NaN or infinite is null."""

    series: dict[str, list[Point]]
    reduced: bool
    source_points: int = Field(description="Points of all curves before they were reduced.")
    reduce: Literal["minmax", "none"]
    nonfinite_count: int = Field(description="How many values of the whole curves are NaN or infinite.")


class PreviewView(Answer):
    """A grid of the job's fixed latents."""

    step: int
    url: str


class CheckpointView(Answer):
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


class EvaluationView(Answer):
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


class ClassView(Answer):
    """A class that the generator can draw."""

    id: int
    label: str


class CountedClass(ClassView):
    """A class of a data set, and how many images carry it."""

    count: int


class FileProblem(Answer):
    """Why an upload cannot become a data set."""

    file: str | None = Field(description="Its name in the archive; null: of the whole.")
    code: str
    detail: str


class Preparation(Answer):
    """What is done to every image of an upload."""

    side: int
    channels: int
    words: str


class IntakeProgress(Answer):
    """How far the validation of an upload is."""

    phase: Literal["checking", "preparing"]
    done: int
    total: int


class DatasetView(Answer):
    """A registered data set."""

    id: str
    name: str
    status: Literal["validating", "ready", "failed"]
    num_images: int
    channels: int
    height: int
    width: int
    classes: list[CountedClass]
    sha256: str | None
    problems: list[FileProblem]
    num_held_out: int | None = Field(description="Of an upload: images that only evaluations see, beside the others.")
    preparation: Preparation | None = Field(description="Of an upload, once it is known.")
    progress: IntakeProgress | None = Field(description="While it is validating.")


class PresetView(Answer):
    """A named starting point."""

    name: str
    title: str
    summary: str
    paper: str
    reach: str = Field(description="The figures that it should reach; empty where none were measured.")
    is_default: bool
    spec: TrainSpec = Field(description="In full, on the data set that ships with the service.")


class WorkerView(Answer):
    """A worker that has said it is there."""

    id: str
    host: str
    devices: list[dict[str, Any]]
    status: Literal["idle", "busy", "draining", "lost"]
    current_job_id: str | None
    heartbeat_at: datetime


class ManifestImage(Answer):
    """One image of a sample: index in the answer, class, seed."""

    index: int
    class_id: int | None
    label: str | None
    seed: int


class ManifestCheckpoint(Answer):
    """What a sample was drawn from."""

    id: str
    step: int


class Manifest(Answer):
    """All that determines a sample's images."""

    job_id: str
    checkpoint: ManifestCheckpoint
    truncation: float
    images: list[ManifestImage]


class Alive(Answer):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Part(Answer):
    """One part that the service needs."""

    ok: bool
    detail: str | None = None


class Ready(Answer):
    """Every part is there."""

    status: Literal["ready"] = "ready"
    parts: dict[str, Part]
