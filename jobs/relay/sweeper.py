"""Recovery: hints to send, leases that ran out, hints that got lost, files that nobody owns. Any number may run."""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog
from celery import Celery

from jobs import broker, leases, uploads
from jobs.db import Database
from jobs.errors import UnavailableError
from jobs.relay.validation import UploadValidator
from jobs.runtime import failpoints
from jobs.runtime.settings import Settings
from jobs.storage.disk import Artifacts
from jobs.store import files, jobs, outbox, workers
from jobs.store.callers import deliveries, idempotency

log = structlog.get_logger("gantry.sweep")

_ORPHANS_AFTER_SECONDS: Final = 3600


def sweep_once(db: Database, settings: Settings) -> None:
    """Give back the jobs of lost workers, and put lost hints into the outbox again."""
    with db.write() as s:
        reaped = leases.reap(s)
        idle = workers.count_idle(s, settings.lease_seconds)
        again = outbox.republish(s, settings.republish_seconds, idle)
        idempotency.delete_old(s)
        deliveries.delete_old(s)
        failpoints.passed("reap.before_commit")
    for job_id in reaped:
        log.warning("lease ran out; job is queued again or ended", job_id=job_id)
    if again:
        log.info("hints written again", jobs=len(again))


def drop_orphans(db: Database, artifacts: Artifacts) -> list[str]:
    """Delete the files of jobs that are not on record, such as a deletion that was cut short; their ids."""
    # Listed before the record is read: a job that is born in between owns its folder.
    owners = {
        folder: tenant
        for tenant in artifacts.tenants()
        for folder in artifacts.of(tenant).orphans((), _ORPHANS_AFTER_SECONDS)
    }
    with db.read() as s:
        known = jobs.all_ids(s)
    if owners and not known:
        # More likely the wrong database than a service that has lost every job.
        log.warning("no job is on record, but there are files of some; they are left alone", folders=len(owners))
        return []
    dropped = [folder for folder in owners if folder not in known]
    for folder in dropped:
        artifacts.of(owners[folder]).delete_job(folder)
        log.info("files of a job that is not on record dropped", job_id=folder)
    return dropped


def tidy_ended(db: Database, artifacts: Artifacts, since: float | None, lease_seconds: float) -> float:
    """Delete the files of jobs that ended past `since` which the record does not name; up to when that is done.

    Whoever wrote them was killed or fenced before they were registered, and has had two leases to end.
    """
    with db.read() as s:
        over, until = files.recently_ended(s, since, 2 * lease_seconds)
    for job_id, tenant in over:
        there = list(artifacts.of(tenant).present(job_id))
        with db.read() as s:
            named = files.recorded_keys(s, job_id)
        for key, path in there:
            # An export for a caller of right now is being written beside what it is made from.
            if key not in named and ".onnx." not in path.name:
                path.unlink(missing_ok=True)
                log.info("a file that the record does not name dropped", job_id=job_id, file=path.name)
    return until


def serve(settings: Settings, stop: threading.Event) -> None:
    """The relay and sweeper's life, until `stop` is set: relay often, sweep each quarter of a lease, take in data."""
    db, app = Database(settings.database), broker.make_app(settings)
    artifacts = Artifacts(settings.artifacts_dir)
    next_sweep = next_tidy = time.monotonic()
    tidied = None
    # Beside the relay, which would wait for minutes otherwise.
    taking_in = UploadValidator(settings, stop)
    taking_in.start()
    log.info("relay and sweeper started")
    while not stop.is_set():
        moment = time.monotonic()
        try:
            if moment >= next_sweep:
                sweep_once(db, settings)
                tidied = tidy_ended(db, artifacts, tidied, settings.lease_seconds)
                next_sweep = moment + min(settings.lease_seconds, settings.republish_seconds) / 4
            if moment >= next_tidy:
                drop_orphans(db, artifacts)
                uploads.delete_orphans(db, settings, _ORPHANS_AFTER_SECONDS)
                next_tidy = moment + _ORPHANS_AFTER_SECONDS
            _relay(db, app)
        except (UnavailableError, OSError) as error:
            log.warning("trying again", reason=str(error))
            stop.wait(settings.poll_seconds * 4)
        stop.wait(settings.poll_seconds)
    taking_in.join()
    db.dispose()
    log.info("relay and sweeper stopped")


def _relay(db: Database, app: Celery) -> None:
    if sent := broker.relay_once(db, app):
        log.debug("hints sent", count=sent)
