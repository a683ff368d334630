"""`python -m worker`: a training worker with one device and one job at a time. SIGTERM saves a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import structlog
from celery.exceptions import SecurityWarning
from celery.signals import worker_init, worker_ready, worker_shutting_down

from jobs.broker import QUEUE, make_app
from jobs.ids import new_id
from jobs.runtime.settings import Settings
from jobs.runtime.startup import begin
from worker import devices, tasks
from worker.presence import Presence
from worker.supervise import Identity

log = structlog.get_logger("gantry.worker")


def main() -> int:
    """Run until SIGTERM. Returns the exit code: 0 after a clean stop, 1 after an error, 2 for a wrong setting."""
    return serve(begin("worker"))


def serve(settings: Settings) -> int:
    """Register this worker, take hints until SIGTERM, then remove the worker's row.

    Returns 0 after a clean stop, and 1 if Celery ended by an error.
    """
    worker_id = new_id("wrk")
    gpus = devices.gpus()
    identity = Identity(worker_id, devices.device_name(gpus), min(1, len(gpus)))
    presence = Presence(settings, worker_id, devices.inventory(), identity.gpus, on_drain=_terminate_self)

    end, on_hangup = _End(), signal.getsignal(signal.SIGHUP)

    def begun(sender: Any, **_: object) -> None:
        end.controller = sender

    def ready(**_: object) -> None:
        # Celery's own handler would start the worker again, in the background.
        signal.signal(signal.SIGHUP, on_hangup)

    def shutting_down(exitcode: int, **_: object) -> None:
        end.requested = exitcode
        presence.drain()

    # Celery keeps weak references to handlers. These live as long as this frame, which is the worker's lifetime.
    worker_init.connect(begun)
    worker_ready.connect(ready)
    worker_shutting_down.connect(shutting_down)
    app = make_app(settings)
    tasks.register(app, settings, identity)
    # Celery warns about root because pickled messages can run code. Our messages are JSON without content.
    warnings.simplefilter("ignore", SecurityWarning)
    presence.start()
    log.info("worker started", worker_id=worker_id, device=identity.device)
    try:
        app.worker_main(_arguments(worker_id, settings))
    finally:
        presence.leave()
    if not end.was_requested:
        log.error("the worker ended by an error; the lines above say which", worker_id=worker_id)
        return 1
    log.info("worker stopped", worker_id=worker_id)
    return 0


@dataclass
class _End:
    """How Celery ended. It catches its own errors, and `worker_main` returns nothing."""

    controller: Any = None
    """Celery's `WorkController`, whose `exitcode` is None after a cold shutdown."""
    requested: int = 0
    """The exit code that a signal announced."""

    @property
    def was_requested(self) -> bool:
        return self.controller is not None and self.controller.exitcode == self.requested


def _terminate_self() -> None:
    """Send SIGTERM to this process. Celery then takes no more hints, waits for its child and exits with 0."""
    os.kill(os.getpid(), signal.SIGTERM)


def _arguments(worker_id: str, settings: Settings) -> list[str]:
    """Return the arguments of `celery worker`: one forked child, and no messages between workers."""
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
