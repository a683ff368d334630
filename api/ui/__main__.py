"""`python -m api.ui`: run the dashboard in this process until a signal stops it."""

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

_GRACEFUL_SHUTDOWN_SECONDS: Final = 1
_EXIT_NOT_STARTED: Final = 3


def main() -> int:
    """Run the dashboard and return the exit code.

    It is 0 after a clean stop, 2 for an invalid setting and 3 if the address is in use.
    """
    parser = argparse.ArgumentParser(prog="python -m api.ui", description="Run the dashboard.")
    parser.add_argument("--api", help="URL of the service. Default: GANTRY_URL.")
    parser.add_argument("--host", help="Address to listen on. Default: GANTRY_HOST.")
    parser.add_argument("--port", type=int, help="Port to listen on. Default: GANTRY_UI_PORT.")
    listening.add_argument(parser)
    arguments = parser.parse_args()
    settings = begin("ui")
    if arguments.host:
        settings = settings.model_copy(update={"host": arguments.host})
    try:
        app = create_app(arguments.api or settings.url, exposed=not settings.on_loopback)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = uvicorn.Server(
        uvicorn.Config(
            guarded(app, settings),
            host=settings.host,
            port=arguments.port or settings.ui_port,
            http=BoundedHttpProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_SECONDS,
        )
    )
    with suppress(KeyboardInterrupt):
        server.run(listening.handed_over(arguments))
    return 0 if server.started else _EXIT_NOT_STARTED


if __name__ == "__main__":
    sys.exit(main())
