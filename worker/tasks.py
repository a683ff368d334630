"""The one Celery task. A message is a hint without a job's id: whichever worker hears it claims the best job."""

from __future__ import annotations

import os

import structlog
from celery import Celery
from celery.signals import worker_process_init

from jobs.broker import TASK_NAME
from jobs.db import Database
from jobs.errors import Unavailable
from jobs.settings import Settings
from worker.room import trainer_environment
from worker.supervise import Identity, carry_one_job
from worker.trainers import Nursery

log = structlog.get_logger("gantry.tasks")


def register(app: Celery, settings: Settings, identity: Identity) -> None:
    """Teach `app` the task."""

    nursery = Nursery(identity.worker_id, trainer_environment(settings, os.environ))

    def child_started(**_: object) -> None:
        # In the forked child's main thread, which is also the one that carries: the nursery ends with it.
        nursery.warm_up()

    worker_process_init.connect(child_started, weak=False)

    @app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
    def carry_a_job() -> None:
        # Forked from a thread, which has none of the main thread's context.
        structlog.contextvars.bind_contextvars(process="worker")
        # Built here: connections do not survive the fork from the worker's main process.
        db = Database(settings.database)
        try:
            carry_one_job(settings, db, identity, nursery)
        except Unavailable as error:
            log.warning("no job could be claimed; the hint will be sent again", error=str(error))
        finally:
            db.dispose()
