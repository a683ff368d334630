"""`python -m worker`: a training worker, one job at a time, one device. On SIGTERM it saves a checkpoint first."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings

import structlog
from celery.exceptions import SecurityWarning
from celery.signals import worker_shutting_down

from jobs.broker import QUEUE, make_app
from jobs.ids import new_id
from jobs.runtime.settings import Settings
from jobs.runtime.startup import begin
from worker import devices, tasks
from worker.presence import Presence
from worker.supervise import Identity

log = structlog.get_logger("gantry.worker")


def main() -> int:
    """Run until told to stop; the process's exit code, 2 for settings that cannot be."""
    return serve(begin("worker"))


def serve(settings: Settings) -> int:
    """Announce this worker, take hints until SIGTERM, say goodbye."""
    worker_id = new_id("wrk")
    gpus = devices.gpus()
    identity = Identity(worker_id, devices.device_name(gpus), min(1, len(gpus)))
    presence = Presence(settings, worker_id, devices.inventory(), identity.gpus, told_to_drain=_end_this_process)

    def shutting_down(**_: object) -> None:
        presence.drain()

    # Celery holds handlers weakly; this one lives as long as this frame, which is as long as the worker.
    worker_shutting_down.connect(shutting_down)
    app = make_app(settings)
    if settings.broker.startswith("filesystem://"):
        # kombu takes each message out through this folder: on the queue's own disk the move is a rename.
        tempfile.tempdir = str(settings.queue_dir / "tmp")
    tasks.register(app, settings, identity)
    # Celery warns of root because of pickled messages; ours are JSON, and carry nothing.
    warnings.simplefilter("ignore", SecurityWarning)
    presence.start()
    log.info("worker started", worker_id=worker_id, device=identity.device)
    try:
        app.worker_main(_arguments(worker_id, settings))
    finally:
        presence.leave()
    log.info("worker stopped", worker_id=worker_id)
    return 0


def _end_this_process() -> None:
    """As an operator's SIGTERM would: Celery takes no more hints, waits for its child, and leaves with 0."""
    os.kill(os.getpid(), signal.SIGTERM)


def _arguments(worker_id: str, settings: Settings) -> list[str]:
    """Of `celery worker`: one forked child; no chatter between workers, which have a table."""
    return [
        "--quiet",
        "worker",
        "--pool=prefork",
        "--concurrency=1",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        f"--queues={QUEUE}",
        f"--hostname=gantry@{worker_id}",
        f"--loglevel={settings.log_level}",
    ]


if __name__ == "__main__":
    sys.exit(main())
