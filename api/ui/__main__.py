"""`python -m api.ui`: the dashboard in this process, until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress
from typing import Final

import uvicorn

from api.http.origin_guard import guarded
from api.http.protocol import KEEP_ALIVE_SECONDS, BoundedHttpProtocol
from api.ui.server import create_app
from jobs.runtime import listening
from jobs.runtime.startup import begin

_LAST_REQUESTS_SECONDS: Final = 1
_DID_NOT_START: Final = 3


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when a setting cannot be, 3 when the address is taken."""
    parser = argparse.ArgumentParser(prog="python -m api.ui", description="The dashboard.")
    parser.add_argument("--api", help="Where the service is; else GANTRY_URL.")
    parser.add_argument("--host", help="Address to listen on; else GANTRY_HOST.")
    parser.add_argument("--port", type=int, help="Port to listen on; else GANTRY_UI_PORT.")
    listening.add_argument(parser)
    asked = parser.parse_args()
    settings = begin("ui")
    if asked.host:
        settings = settings.model_copy(update={"host": asked.host})
    try:
        app = create_app(asked.api or settings.url, exposed=not settings.on_loopback)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = uvicorn.Server(
        uvicorn.Config(
            guarded(app, settings),
            host=settings.host,
            port=asked.port or settings.ui_port,
            http=BoundedHttpProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_LAST_REQUESTS_SECONDS,
        )
    )
    with suppress(KeyboardInterrupt):
        server.run(listening.handed_over(asked))
    return 0 if server.started else _DID_NOT_START


if __name__ == "__main__":
    sys.exit(main())
