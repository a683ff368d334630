"""The only Celery task. Its message is a hint without a job's id: the worker that receives it claims the best job."""

from __future__ import annotations

import os
import signal

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
    """Register the task with `app`."""
    fork_server = ForkServer(identity.worker_id, trainer_environment(settings, os.environ))

    def child_started(**_: object) -> None:
        # A closed terminal sends SIGHUP to all processes in it. The main process then ends this one in order.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # Called in the forked child's main thread, which also runs the task. The fork server ends with that thread.
        fork_server.warm_up()

    worker_process_init.connect(child_started, weak=False)

    @app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
    def run_job() -> None:
        # The child is forked from a thread, which lacks the log context of the main thread.
        structlog.contextvars.bind_contextvars(process="worker")
        # Created here, because connections do not survive the fork from the worker's main process.
        db = Database(settings.database)
        try:
            run_one_job(settings, db, identity, fork_server)
        except UnavailableError as error:
            log.warning("no job could be claimed; the hint will be sent again", error=str(error))
        finally:
            db.dispose()
