"""`python -m jobs.relay`: relay, sweeper and the webhooks' postman in this process, until it is told to stop."""

from __future__ import annotations

import signal
import sys
import threading

import structlog

from jobs.relay import sweeper
from jobs.relay.webhooks.dispatcher import WebhookDispatcher
from jobs.runtime.startup import begin

log = structlog.get_logger("gantry.relay")


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when a setting cannot be."""
    settings = begin("relay")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    log.info("relay started", webhooks=settings.webhooks)
    dispatcher = WebhookDispatcher(settings, stop) if settings.webhooks else None
    if dispatcher is not None:
        dispatcher.start()
    sweeper.serve(settings, stop)
    if dispatcher is not None:
        dispatcher.join()
    log.info("relay stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
