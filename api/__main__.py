"""`python -m api`: the HTTP service in this process, until it is told to stop."""

from __future__ import annotations

import signal
import sys
from typing import Final

import uvicorn

from api.app import create_app
from jobs.startup import begin

# A request that is held open by `Prefer: wait` shall not hold the process.
_LAST_REQUESTS_SECONDS: Final = 3


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when a setting cannot be."""
    settings = begin("api")
    # uvicorn stops cleanly on SIGTERM and then raises it again for this handler: that is exit 0, not a death.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_REQUESTS_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
