"""What the service answers, as OpenAPI documents it. Times are RFC 3339 in UTC; what is not finite is null."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.schemas.base import Number, Reason, ResponseModel
from gan.spec import TrainSpec
from jobs.status import Status


class JobError(ResponseModel):
    """Why a job failed, and what to do."""

    code: str
    message: str
    retryable: bool
    step: int | None
    hint: str | None


class Progress(ResponseModel):
    """How far a job is."""

    step: int
    total_steps: int
    fraction: float = Field(ge=0, le=1)
    images_seen: int = Field(description="Real images shown to D.")
    images_per_second: float | None
    eta_seconds: int | None = Field(description="null while the rate is not known, and when nothing is left to do.")
    updated_at: datetime | None


class Place(ResponseModel):
    """Where a queued job stands in the queue."""

    position: int = Field(ge=1)
    jobs_ahead: int = Field(ge=0)


class Evidence(ResponseModel):
    """A figure, and the threshold that it is past."""

    metric: str
    value: Number
    threshold: Number


class Remedy(ResponseModel):
    """A field to set."""

    pointer: str = Field(description="RFC 6901 pointer into the body of POST /v1/jobs.")
    value: Any = Field(description="The whole new value of that field.")
    why: str


class Finding(ResponseModel):
    """One observation about the training. All of its remedy together makes a body that is taken again."""

    code: str = Field(description="Stable and for machines.")
    severity: Literal["info", "warning", "critical"]
    began_at_step: int
    found_at_step: int
    message: str
    evidence: list[Evidence]
    remedy: list[Remedy]


class Health(ResponseModel):
    """A verdict on the training itself, and the findings that hold; unknown until somebody has looked."""

    verdict: Literal["unknown", "healthy", "warning", "failing"]
    findings: list[Finding]


class JobWorker(ResponseModel):
    """Who trains it, or trained it last; null while nobody has."""

    id: str
    device: str | None
    heartbeat_at: datetime | None


class Links(ResponseModel):
    """Where the rest of a job is."""

    self: str
    events: str
    metrics: str
    checkpoints: str
    evaluations: str
    samples: str


class JobView(ResponseModel):
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


class Estimate(ResponseModel):
    """What a spec would take."""

    model_config = ConfigDict(extra="allow")

    generator_parameters: int
    discriminator_parameters: int
    memory_bytes: int | None
    checkpoint_bytes: int
    disk_bytes: int


class DryRun(ResponseModel):
    """The resolved spec and its cost; nothing was stored."""

    spec: TrainSpec
    estimate: Estimate


class PresetView(ResponseModel):
    """A named starting point."""

    name: str
    title: str
    summary: str
    paper: str
    reach: str = Field(description="The figures that it should reach; empty where none were measured.")
    is_default: bool
    spec: TrainSpec = Field(description="In full, on the data set that ships with the service.")


class WorkerView(ResponseModel):
    """A worker that has said it is there."""

    id: str
    host: str
    devices: list[dict[str, Any]]
    status: Literal["idle", "busy", "draining", "lost"]
    current_job_id: str | None
    heartbeat_at: datetime
