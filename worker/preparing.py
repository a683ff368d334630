"""Before the first step: the feature network that the images will be judged by, trained where there is none yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from gan import features
from gan.data import ImageDataset
from gan.features import FeatureNet
from jobs.models import Job
from worker.journal import Journal

log = structlog.get_logger("gantry.preparing")

_TOLD_EVERY_SECONDS: Final = 1.0


class AskedToStop(Exception):
    """Somebody wants the device back before anything was learnt."""


class Preparation:
    """Tells the record, about once a second, that a feature network is being trained: a silent attempt is ended.

    Raises `AskedToStop` where the job is to be cancelled or `stop()` says so, and `Fenced`.
    """

    def __init__(self, journal: Journal, job: Job, stop: Callable[[], bool]) -> None:
        self._journal, self._job, self._stop = journal, job, stop
        self._due = 0.0
        self._told = False

    def __call__(self, share: float) -> None:
        """`share` of it is done, 0..1."""
        if time.monotonic() < self._due:
            return
        message = f"A feature network for this data set is trained, once for all its jobs: {share:.0%} done."
        reason = {"code": "preparing", "message": message}
        orders = self._journal.write(step=self._job.step, status_reason=reason)
        if orders.stop or self._stop():
            raise AskedToStop
        if not self._told:
            log.info("no feature network for this data set yet; one is trained", data=self._job.dataset)
        self._told, self._due = True, time.monotonic() + _TOLD_EVERY_SECONDS

    def over(self) -> None:
        """The job stands again where it stood."""
        if self._told:
            self._journal.write(status_reason=self._job.status_reason)


def feature_net(data: ImageDataset, cache: Path, preparation: Preparation) -> FeatureNet:
    """The feature network of `data`: it ships, or is in the folder `cache`, or is trained now and kept there.

    Raises what `preparation` raises; then nothing is kept.
    """
    net = features.for_dataset(data, cache, preparation)
    preparation.over()
    return net
