"""`python -m api.relay`: the relay and sweeper in this process, until it is told to stop."""

from __future__ import annotations

import signal
import sys
import threading

from jobs import logs, sweep
from jobs.errors import SettingsError
from jobs.settings import load_settings


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when a setting cannot be."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.setup(settings, "relay")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sweep.serve(settings, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
