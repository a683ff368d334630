"""Events of a training run, written to the record: one fenced transaction for each event."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import structlog
import torch

from gan.events import Evaluated, HealthChanged, PreviewReady, Tick
from gan.findings import HealthFinding, HealthSummary
from gan.sample import grid_png
from gan.train import Trainer
from jobs import leases
from jobs.db import Session
from jobs.leases import JobRequests
from jobs.runtime import failpoints
from jobs.storage import Storage, keys
from jobs.store import checkpoints, evaluations, health, metrics, previews
from worker.trainer.checkpoints import is_disk_full
from worker.trainer.fenced_writer import FencedWriter

log = structlog.get_logger("gantry.recorder")

Figures = dict[str, float | None]


class Recorder:
    """Writes the events of one attempt. Every method raises `FencedError` if another attempt owns the job."""

    def __init__(self, writer: FencedWriter, artifacts: Storage) -> None:
        self._writer, self._artifacts = writer, artifacts
        self._job_id, self._attempt = writer.job_id, writer.attempt
        self._losses: Figures = {}
        self._quality: Figures = {}
        self._evaluated_step: int | None = None
        self.findings: tuple[HealthFinding, ...] = ()
        """The findings that hold at the moment."""
        self.step: int | None = None
        """The last step in the record; None before the first."""

    def begin(self, trainer: Trainer, device: str) -> None:
        """Record the step from which this attempt continues. What an earlier attempt wrote past it is superseded.

        Health and best checkpoint become those of that step again.
        """

        def resumed(s: Session) -> None:
            leases.record_resume(s, self._job_id, self._attempt, trainer.step)
            checkpoints.mark_best(s, self._job_id, trainer.best_step)
            self._put_health(s, trainer.step, trainer.health.summary, trainer.health.findings)

        self._writer.write(resumed, step=trainer.step, images_seen=trainer.images_seen, device=device)
        failpoints.passed("resume.committed")
        latest = self._writer.read(lambda s: evaluations.latest(s, self._job_id))
        self._quality = {} if latest is None else latest.metrics
        self.findings = tuple(trainer.health.findings)
        log.info("training", device=device, from_step=trainer.step, threads=torch.get_num_threads())

    def tick(self, tick: Tick) -> JobRequests:
        """Record the metrics since the last tick. Returns what was requested of the job, as far as known."""
        self.step = tick.step
        self._losses = {
            name: metrics.shortest_decimal(v) for name, v in zip(tick.names, tick.values[-1], strict=True)
        }

        def append(s: Session) -> None:
            metrics.append(s, self._job_id, self._attempt, tick.first_step, tick.names, tick.values)
            failpoints.passed("metrics.before_commit")

        return self._writer.post(
            append,
            step=tick.step,
            images_seen=tick.images_seen,
            images_per_second=tick.images_per_second,
            latest_metrics=self._latest,
        )

    def preview(self, preview: PreviewReady) -> None:
        """Record a preview, unless the disk is full."""
        key = keys.preview(self._job_id, preview.step, self._attempt)
        try:
            stored = self._artifacts.put_bytes(key, grid_png(preview.images, preview.rows, preview.row_labels))
        except OSError as error:
            if not is_disk_full(error):
                raise
            log.warning("the disk is full; a preview is left out", step=preview.step)
            return

        def register(s: Session) -> None:
            previews.register(s, self._job_id, self._attempt, preview.step, stored)

        self._writer.post(register)

    def evaluation(self, evaluated: Evaluated) -> None:
        """Record an evaluation, and the job's progress, because an evaluation can take long."""
        details = plain(asdict(evaluated.evaluation))
        figures: Figures = details.pop("metrics")
        self._quality, self._evaluated_step = figures, evaluated.step

        def register(s: Session) -> None:
            place = (self._job_id, self._attempt, evaluated.step)
            evaluations.register(s, *place, figures, details, best_so_far=evaluated.best)

        self._writer.post(register, step=evaluated.step, latest_metrics=self._latest)
        log.info("evaluated", step=evaluated.step, best=evaluated.best, **figures)

    def health(self, changed: HealthChanged) -> None:
        """Record the verdict, the findings that hold, and the new ones, which are also logged."""
        self.findings = changed.findings

        def put(s: Session) -> None:
            self._put_health(s, changed.step, changed.summary, changed.findings, changed.raised)

        self._writer.post(put)
        for finding in changed.raised:
            log.warning(finding.message, finding=finding.code, severity=finding.severity, step=changed.step)

    def at(self, step: int) -> Figures:
        """Return the metrics of `step`, the newest: losses, and quality if that step was evaluated."""
        return {**(self._quality if step == self._evaluated_step else {}), **self._losses}

    @property
    def _latest(self) -> Figures:
        return {**self._quality, **self._losses}

    def _put_health(
        self,
        s: Session,
        step: int,
        summary: HealthSummary,
        findings: Iterable[HealthFinding],
        raised: Iterable[HealthFinding] = (),
    ) -> None:
        hold, new = ([plain(finding.to_json()) for finding in some] for some in (findings, raised))
        said = plain(summary.to_json())
        health.record(s, self._job_id, self._attempt, step, said.pop("verdict"), hold, new, **said)


def plain(value: Any) -> Any:
    """Return `value` as JSON holds it: null for a number that is not finite, a list for a tuple."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value
