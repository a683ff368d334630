"""The feature network of a data set, needed for evaluations: trained before the first step if there is none yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from gan.data import ImageDataset
from gan.quality import features
from gan.quality.features import FeatureNet
from jobs.models import Job
from worker.trainer.fenced_writer import FencedWriter

log = structlog.get_logger("gantry.features")

_REPORT_SECONDS: Final = 1.0


class StopRequestedError(Exception):
    """The attempt was asked to stop before the first step."""


class FeaturePreparation:
    """A callback that records, about once a second, that a feature network is being trained.

    Without a sign of progress the attempt would count as stalled. The call raises `StopRequestedError` if the job was
    asked to stop or `stop()` returns true, and `FencedError`.
    """

    def __init__(self, writer: FencedWriter, job: Job, stop: Callable[[], bool]) -> None:
        self._writer, self._job, self._stop = writer, job, stop
        self._due = 0.0
        self._reported = False

    def __call__(self, share: float) -> None:
        """Record that `share`, in [0, 1], of the training is done."""
        if time.monotonic() < self._due:
            return
        message = f"Training a feature network for this data set, once for all its jobs: {share:.0%} done."
        reason = {"code": "preparing", "message": message}
        requests = self._writer.write(step=self._job.step, status_reason=reason)
        if requests.stop or self._stop():
            raise StopRequestedError
        if not self._reported:
            log.info("this data set has no feature network yet; training one", data=self._job.dataset)
        self._reported, self._due = True, time.monotonic() + _REPORT_SECONDS

    def finish(self) -> None:
        """Restore the job's earlier `status_reason`."""
        if self._reported:
            self._writer.write(status_reason=self._job.status_reason)


def feature_net(data: ImageDataset, cache: Path, preparation: FeaturePreparation) -> FeatureNet:
    """Return the feature network of `data`: shipped, from the folder `cache`, or trained now and stored there.

    Raises what `preparation` raises; then nothing is stored.
    """
    net = features.for_dataset(data, cache, preparation)
    preparation.finish()
    return net
