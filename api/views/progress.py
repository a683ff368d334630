"""What a running job reports, as response bodies: events, metrics, previews, checkpoints and evaluations."""

from __future__ import annotations

from api.schemas.progress import CheckpointView, EvaluationView, EventView, MetricView, PreviewView
from api.views.base import finite, moment
from jobs.models import Checkpoint, Evaluation, JobEvent, Preview
from jobs.store.evaluations import EvaluationPlace
from jobs.store.metrics import MetricSummary


def event_view(row: JobEvent) -> EventView:
    """Return an event of a job."""
    return EventView(
        seq=row.seq, type=row.type, attempt=row.attempt, data=row.data, actor=row.actor, at=moment(row.at)
    )


def metric_view(row: MetricSummary) -> MetricView:
    """Return the summary of a curve."""
    return MetricView(**vars(row))


def preview_view(row: Preview) -> PreviewView:
    """Return a preview, with the address of its picture."""
    return PreviewView(step=row.step, url=f"/v1/jobs/{row.job_id}/previews/{row.step}.png")


def checkpoint_view(row: Checkpoint, last_id: str | None) -> CheckpointView:
    """Return a checkpoint; `last_id` is the id of the job's newest one."""
    return CheckpointView(
        id=row.id,
        step=row.step,
        attempt=row.attempt,
        metrics=finite(row.metrics),
        is_last=row.id == last_id,
        is_best=row.is_best,
        bytes=row.bytes,
        sha256=row.sha256,
        created_at=moment(row.created_at),
    )


def evaluation_view(row: Evaluation, best: EvaluationPlace | None) -> EvaluationView:
    """Return an evaluation; `best` is the step and the attempt of the job's best one."""
    details = row.details
    return EvaluationView(
        step=row.step,
        attempt=row.attempt,
        is_best=best == (row.step, row.attempt),
        metrics=finite(row.metrics),
        reference=details.get("reference", {}),
        class_histogram=details.get("class_histogram", {}),
        real_class_histogram=details.get("real_class_histogram", {}),
        within_class_diversity=details.get("within_class_diversity", {}),
        label_accuracy_by_class=details.get("label_accuracy_by_class", {}),
        provenance=details.get("provenance", {}),
        created_at=moment(row.created_at),
    )
