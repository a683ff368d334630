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
from jobs.storage import Storage, keys, open_storage
from jobs.storage.orphans import find_orphans
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


def drop_orphans(db: Database, storage: Storage) -> list[str]:
    """Delete the files of jobs that are not on record, and return the ids of these jobs.

    There are such files after a deletion that was cut short.
    """
    known: set[str] = set()

    def read_known() -> set[str]:
        with db.read() as s:
            known.update(jobs.all_ids(s))
        return known

    orphans = find_orphans(storage, keys.ARTIFACTS, "job", read_known, _ORPHANS_AFTER_SECONDS)
    if orphans and not known:
        # More likely the wrong database than a service that has lost every job.
        log.warning("no job is on record, but there are files of some; they are left alone", folders=len(orphans))
        return []
    for tenant, job_id in orphans:
        storage.artifacts(tenant).delete_prefix(job_id)
        log.info("files of a job that is not on record dropped", job_id=job_id)
    return [job_id for _, job_id in orphans]


def tidy_ended(db: Database, storage: Storage, since: float | None, lease_seconds: float) -> float:
    """Delete the files of jobs that ended past `since` which the record does not name; up to when that is done.

    Whoever wrote them was killed or fenced before they were registered, and has had two leases to end.
    """
    with db.read() as s:
        over, until = files.recently_ended(s, since, 2 * lease_seconds)
    for job_id, tenant in over:
        artifacts = storage.artifacts(tenant)
        written = files.written(artifacts, job_id)
        with db.read() as s:
            named = files.recorded_keys(s, job_id)
        for key in written:
            # An export may be written at this moment, for a caller who waits for it.
            if key not in named and not keys.is_unfinished_export(key):
                artifacts.delete(key)
                log.info("a file that the record does not name dropped", job_id=job_id, file=key)
    return until


def serve(settings: Settings, stop: threading.Event) -> None:
    """The relay and sweeper's life, until `stop` is set: relay often, sweep each quarter of a lease, take in data."""
    db, app = Database(settings.database), broker.make_app(settings)
    storage = open_storage(settings)
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
                tidied = tidy_ended(db, storage, tidied, settings.lease_seconds)
                next_sweep = moment + min(settings.lease_seconds, settings.republish_seconds) / 4
            if moment >= next_tidy:
                drop_orphans(db, storage)
                uploads.delete_orphans(db, storage, _ORPHANS_AFTER_SECONDS)
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
