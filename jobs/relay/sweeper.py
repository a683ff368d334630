"""Recovery: send due hints, take back expired leases, send lost hints again, delete files without an owner.

Any number of relays may run at the same time.
"""

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
        log.warning("lease expired; the job was given back", job_id=job_id)
    if again:
        log.info("lost hints put into the outbox again", jobs=len(again))


def delete_orphans(db: Database, storage: Storage) -> list[str]:
    """Delete the files of jobs that are not in the database, and return the ids of these jobs.

    Such files remain after a deletion that was interrupted.
    """
    known: set[str] = set()

    def read_known() -> set[str]:
        with db.read() as s:
            known.update(jobs.all_ids(s))
        return known

    orphans = find_orphans(storage, keys.ARTIFACTS, "job", read_known, _ORPHANS_AFTER_SECONDS)
    if orphans and not known:
        # This is more likely the wrong database than a service that has lost every job.
        log.warning("there are files of jobs, but no job in the database; the files are kept", folders=len(orphans))
        return []
    for tenant, job_id in orphans:
        storage.artifacts(tenant).delete_prefix(job_id)
        log.info("deleted the files of a job that is not in the database", job_id=job_id)
    return [job_id for _, job_id in orphans]


def delete_unrecorded(db: Database, storage: Storage, since: float | None, lease_seconds: float) -> float:
    """Delete the unrecorded files of jobs that ended after `since`; return the time up to which this is done.

    The process that wrote such a file was killed or fenced before it could register it. It has had two leases to end.
    """
    with db.read() as s:
        ended, until = files.recently_ended(s, since, 2 * lease_seconds)
    for job_id, tenant in ended:
        artifacts = storage.artifacts(tenant)
        written = files.written(artifacts, job_id)
        with db.read() as s:
            recorded = files.recorded_keys(s, job_id)
        for key in written:
            # An export may be in progress at this moment, for a caller who waits for it.
            if key not in recorded and not keys.is_unfinished_export(key):
                artifacts.delete(key)
                log.info("deleted a file that is not recorded", job_id=job_id, file=key)
    return until


def serve(settings: Settings, stop: threading.Event) -> None:
    """Run the relay and sweeper until `stop` is set.

    Due hints are sent every `poll_seconds`. The sweep runs four times per lease or per `republish_seconds`, whichever
    is shorter. A thread of its own validates uploads.
    """
    db, app = Database(settings.database), broker.make_app(settings)
    storage = open_storage(settings)
    next_sweep = next_cleanup = time.monotonic()
    cleaned_until = None
    # In a thread of its own, because a validation takes minutes and would hold up the relay.
    validator = UploadValidator(settings, stop)
    validator.start()
    log.info("relay and sweeper started")
    while not stop.is_set():
        moment = time.monotonic()
        try:
            if moment >= next_sweep:
                sweep_once(db, settings)
                cleaned_until = delete_unrecorded(db, storage, cleaned_until, settings.lease_seconds)
                next_sweep = moment + min(settings.lease_seconds, settings.republish_seconds) / 4
            if moment >= next_cleanup:
                delete_orphans(db, storage)
                uploads.delete_orphans(db, storage, _ORPHANS_AFTER_SECONDS)
                next_cleanup = moment + _ORPHANS_AFTER_SECONDS
            _relay(db, app)
        except (UnavailableError, OSError) as error:
            log.warning("the database, broker or disk failed; trying again", reason=str(error))
            stop.wait(settings.poll_seconds * 4)
        stop.wait(settings.poll_seconds)
    validator.join()
    db.dispose()
    log.info("relay and sweeper stopped")


def _relay(db: Database, app: Celery) -> None:
    if sent := broker.relay_once(db, app):
        log.debug("hints sent", count=sent)
