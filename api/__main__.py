"""`python -m api`: the HTTP service in this process, until it is told to stop."""

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
from api.http.protocol import KEEP_ALIVE_SECONDS, ImpatientHttp
from jobs.runtime import listening
from jobs.runtime.settings import Settings
from jobs.runtime.startup import begin

# What is under way when the service stops; streams and waits are ended at once, see Server.
_LAST_REQUESTS_SECONDS: Final = 3
_DID_NOT_START: Final = 3


class ApiServer(uvicorn.Server):
    """Ends streams first when it stops: their readers go on elsewhere, from the last event that they have."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                guarded(app, settings, origins=settings.origins),
                host=settings.host,
                port=settings.port,
                http=ImpatientHttp,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_LAST_REQUESTS_SECONDS,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.services.event_hub.close()
        await super().shutdown(sockets)


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when a setting cannot be, 3 when the address is taken."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The HTTP service.")
    listening.add_argument(parser)
    parser.add_argument("--openapi", action="store_true", help="Print the OpenAPI document, and serve nothing.")
    asked = parser.parse_args()
    settings = begin("api")
    if asked.openapi:
        print(json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False))
        return 0
    # uvicorn stops cleanly on SIGTERM and then raises it again for this handler: that is exit 0, not a death.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ApiServer(create_app(settings), settings)
    # What is there by now stays. A collection would walk through all of it while every request waits.
    gc.collect()
    gc.freeze()
    with suppress(KeyboardInterrupt):
        server.run(listening.handed_over(asked))
    return 0 if server.started else _DID_NOT_START


if __name__ == "__main__":
    sys.exit(main())
