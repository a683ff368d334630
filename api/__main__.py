"""`python -m api`: run the HTTP service in this process until a signal stops it."""

from __future__ import annotations

import argparse
import gc
import json
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.http.origin_guard import guarded
from api.http.protocol import KEEP_ALIVE_SECONDS, BoundedHttpProtocol
from jobs.runtime import listening
from jobs.runtime.settings import Settings
from jobs.runtime.startup import begin

# The time that requests in progress get when the service stops. `ApiServer` ends streams and waits at once.
_LAST_REQUESTS_SECONDS: Final = 3
_DID_NOT_START: Final = 3


class ApiServer(uvicorn.Server):
    """A server that ends all streams first when it stops; clients reconnect and continue after their last event."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                guarded(app, settings, origins=settings.origins),
                host=settings.host,
                port=settings.port,
                http=BoundedHttpProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_LAST_REQUESTS_SECONDS,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all streams, then shut down as uvicorn does."""
        self._app.state.services.event_hub.close()
        await super().shutdown(sockets)


def main() -> int:
    """Run the service and return the exit code: 0 after a stop, 2 for a wrong setting, 3 if the address is taken."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Run the HTTP service.")
    listening.add_argument(parser)
    parser.add_argument("--openapi", action="store_true", help="Print the OpenAPI document and exit.")
    options = parser.parse_args()
    settings = begin("api")
    if options.openapi:
        print(json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False))
        return 0
    # uvicorn stops cleanly on SIGTERM and then raises the signal again for this handler: exit with 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ApiServer(create_app(settings), settings)
    # The objects of the application live as long as the process. A later collection would walk through all of them
    # while every request waits.
    gc.collect()
    gc.freeze()
    with suppress(KeyboardInterrupt):
        server.run(listening.handed_over(options))
    return 0 if server.started else _DID_NOT_START


if __name__ == "__main__":
    sys.exit(main())
