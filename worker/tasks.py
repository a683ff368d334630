"""The one Celery task. A message is a hint without a job's id: whichever worker hears it claims the best job."""

from __future__ import annotations

import os

import structlog
from celery import Celery
from celery.signals import worker_process_init

from jobs.broker import TASK_NAME
from jobs.db import Database
from jobs.errors import UnavailableError
from jobs.runtime.settings import Settings
from worker.sandbox import trainer_environment
from worker.supervise import Identity, run_one_job
from worker.trainer_process import ForkServer

log = structlog.get_logger("gantry.tasks")


def register(app: Celery, settings: Settings, identity: Identity) -> None:
    """Teach `app` the task."""

    fork_server = ForkServer(identity.worker_id, trainer_environment(settings, os.environ))

    def child_started(**_: object) -> None:
        # In the forked child's main thread, which is also the one that carries: the nursery ends with it.
        fork_server.warm_up()

    worker_process_init.connect(child_started, weak=False)

    @app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
    def carry_a_job() -> None:
        # Forked from a thread, which has none of the main thread's context.
        structlog.contextvars.bind_contextvars(process="worker")
        # Built here: connections do not survive the fork from the worker's main process.
        db = Database(settings.database)
        try:
            run_one_job(settings, db, identity, fork_server)
        except UnavailableError as error:
            log.warning("no job could be claimed; the hint will be sent again", error=str(error))
        finally:
            db.dispose()
