"""Before the first step: the feature network that the images will be judged by, trained where there is none yet."""

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

log = structlog.get_logger("gantry.preparing")

_TOLD_EVERY_SECONDS: Final = 1.0


class StopRequestedError(Exception):
    """Somebody wants the device back before anything was learnt."""


class FeaturePreparation:
    """Tells the record, about once a second, that a feature network is being trained: a silent attempt is ended.

    Raises `StopRequestedError` where the job is to be cancelled or `stop()` says so, and `FencedError`.
    """

    def __init__(self, writer: FencedWriter, job: Job, stop: Callable[[], bool]) -> None:
        self._writer, self._job, self._stop = writer, job, stop
        self._due = 0.0
        self._told = False

    def __call__(self, share: float) -> None:
        """`share` of it is done, 0..1."""
        if time.monotonic() < self._due:
            return
        message = f"A feature network for this data set is trained, once for all its jobs: {share:.0%} done."
        reason = {"code": "preparing", "message": message}
        orders = self._writer.write(step=self._job.step, status_reason=reason)
        if orders.stop or self._stop():
            raise StopRequestedError
        if not self._told:
            log.info("no feature network for this data set yet; one is trained", data=self._job.dataset)
        self._told, self._due = True, time.monotonic() + _TOLD_EVERY_SECONDS

    def over(self) -> None:
        """The job stands again where it stood."""
        if self._told:
            self._writer.write(status_reason=self._job.status_reason)


def feature_net(data: ImageDataset, cache: Path, preparation: FeaturePreparation) -> FeatureNet:
    """The feature network of `data`: it ships, or is in the folder `cache`, or is trained now and kept there.

    Raises what `preparation` raises; then nothing is kept.
    """
    net = features.for_dataset(data, cache, preparation)
    preparation.over()
    return net
