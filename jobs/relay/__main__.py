"""`python -m jobs.relay`: run the relay, the sweeper, the validation of uploads and the webhook dispatcher."""

from __future__ import annotations

import signal
import sys
import threading

import structlog

from jobs.errors import SettingsError
from jobs.relay import sweeper
from jobs.relay.webhooks.dispatcher import WebhookDispatcher
from jobs.runtime.startup import begin

log = structlog.get_logger("gantry.relay")


def main() -> int:
    """Run until SIGINT or SIGTERM. Return 0 after a clean stop; exit with 2 when a setting is not valid."""
    settings = begin("relay")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    log.info("relay started", webhooks=settings.webhooks)
    try:
        dispatcher = WebhookDispatcher(settings, stop) if settings.webhooks else None
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if dispatcher is not None:
        dispatcher.start()
    sweeper.serve(settings, stop)
    if dispatcher is not None:
        dispatcher.join()
    log.info("relay stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
