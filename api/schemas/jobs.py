"""Response bodies about jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.schemas.base import Number, Reason, ResponseModel
from gan.spec import TrainSpec
from jobs.status import Status


class JobError(ResponseModel):
    """The reason why a job failed, and what to do."""

    code: str
    message: str
    retryable: bool
    step: int | None
    hint: str | None


class Progress(ResponseModel):
    """The progress of a job."""

    step: int
    total_steps: int
    fraction: float = Field(ge=0, le=1)
    images_seen: int = Field(description="The number of real images that D has seen.")
    images_per_second: float | None = Field(
        description="The current rate, or the last one of a job that has ended; null while no worker reports."
    )
    eta_seconds: int | None = Field(description="The remaining seconds; null while the rate is unknown.")
    updated_at: datetime | None


class Place(ResponseModel):
    """The place of a job in the queue."""

    position: int = Field(ge=1)
    jobs_ahead: int = Field(ge=0, le=1000, description="Exact up to 1,000.")
    at_least: bool = Field(description="True: more than 1,000 jobs are ahead, and both numbers are lower bounds.")


class Evidence(ResponseModel):
    """A metric, its value, and the threshold that the value has crossed."""

    metric: str
    value: Number
    threshold: Number


class Remedy(ResponseModel):
    """A change of one field of the spec."""

    pointer: str = Field(description="RFC 6901 pointer into the body of POST /v1/jobs.")
    value: Any = Field(description="The complete new value of that field.")
    why: str


class Finding(ResponseModel):
    """One observation about the training. With all changes of its remedy, the spec is valid and can be submitted."""

    code: str = Field(description="A stable code for programs.")
    severity: Literal["info", "warning", "critical"]
    began_at_step: int
    found_at_step: int
    message: str
    evidence: list[Evidence]
    remedy: list[Remedy]


class Health(ResponseModel):
    """The verdict on the training, and its current findings."""

    verdict: Literal["unknown", "healthy", "warning", "failing"] = Field(
        description="The worst finding decides. Without one it is healthy only on evidence: the last evaluation "
        "shows images that a person recognises."
    )
    reason: Literal["not_checked", "still_learning", "not_measured", "ended_early"] | None = Field(
        description="Why the verdict is unknown: no check has run yet; the images are not good enough yet, or not "
        "evaluated yet; the job has no evaluations; the job failed or was cancelled before there was evidence. "
        "null for every other verdict."
    )
    message: str = Field(description="The verdict in one sentence: what a person would see, or the worst finding.")
    missing: list[Evidence] = Field(
        description="The figures of the last evaluation that are too low for the verdict healthy, each with the "
        "value that it needs."
    )
    findings: list[Finding]


class JobWorker(ResponseModel):
    """The worker that runs the job, or ran it last."""

    id: str
    device: str | None
    heartbeat_at: datetime | None


class Links(ResponseModel):
    """The addresses of the resources of a job."""

    self: str
    events: str
    metrics: str
    checkpoints: str
    evaluations: str
    samples: str


class JobView(ResponseModel):
    """A job."""

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
    """The size of the networks, the memory and disk that a job would need, and how long it would train."""

    model_config = ConfigDict(extra="allow")

    generator_parameters: int
    discriminator_parameters: int
    memory_bytes: int | None
    checkpoint_bytes: int
    disk_bytes: int
    seconds: int | None = Field(
        None, description="Duration of the training without its evaluations; null until such a job was measured here."
    )
    images_per_second: float | None = Field(
        None,
        description="The rate behind `seconds`: that of the newest job whose images cost as much.",
    )
    device: str | None = Field(None, description="The device on which that rate was measured.")


class DryRun(ResponseModel):
    """The complete spec and its estimate; no job was created."""

    spec: TrainSpec
    estimate: Estimate
