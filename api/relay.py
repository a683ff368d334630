"""`python -m api.relay`: the relay and sweeper in this process, until it is told to stop."""

from __future__ import annotations

import signal
import sys
import threading

from jobs import sweep
from jobs.startup import begin


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when a setting cannot be."""
    settings = begin("relay")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sweep.serve(settings, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
