"""A job with a finding, for tests of the command line."""

from __future__ import annotations

from jobs import leases
from jobs.db import Database
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import evaluations, health
from tests.api.conftest import FINDING
from tests.gantry.command import claim


def succeed_with_finding(settings: Settings, job_id: str) -> None:
    """End the job as succeeded, with one evaluation, the verdict `failing` and the finding `FINDING`."""
    claim(settings, job_id)
    db = Database(settings.database)
    with db.write() as s:
        metrics = {"fcd": 3.21, "coverage": 0.612, "label_accuracy": None}
        evaluations.register(s, job_id, 1, 5, metrics, {}, best_so_far=True)
        health.record(s, job_id, 1, 50, "failing", [FINDING], raised=[FINDING])
        reason = {"code": "stopped_early", "message": "The best is long past."}
        leases.finish(s, job_id, 1, Status.SUCCEEDED, reason=reason)
    db.dispose()
