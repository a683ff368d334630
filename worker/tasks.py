"""The one Celery task. A message is a hint without a job's id: whichever worker hears it claims the best job."""

from __future__ import annotations

import structlog
from celery import Celery

from jobs.broker import TASK_NAME
from jobs.db import Database
from jobs.errors import Unavailable
from jobs.settings import Settings
from worker.supervise import Identity, carry_one_job

log = structlog.get_logger("gantry.tasks")


def register(app: Celery, settings: Settings, identity: Identity) -> None:
    """Teach `app` the task."""

    @app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
    def carry_a_job() -> None:
        # Forked from a thread, which has none of the main thread's context.
        structlog.contextvars.bind_contextvars(process="worker")
        # Built here: connections do not survive the fork from the worker's main process.
        db = Database(settings.database)
        try:
            carry_one_job(settings, db, identity)
        except Unavailable as error:
            log.warning("no job could be claimed; the hint will be sent again", error=str(error))
        finally:
            db.dispose()
