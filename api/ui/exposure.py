"""A dashboard that others can reach leads to a service that asks for keys, or nowhere.

A service that asks nobody for a key listens on its own machine alone; a dashboard before it would be the way around.
"""

from __future__ import annotations

import time
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.ui.sessions import Sessions
from gantry.client import ApiError, UnreachableError

_TRUSTED_SECONDS: Final = 60.0
_OPEN: Final = (
    "This dashboard listens on a network, and the service behind it asks nobody for a key: whoever came here could "
    "do anything. Start the service with GANTRY_AUTH=on, or the dashboard on 127.0.0.1.\n"
)
_UNKNOWN: Final = "The service does not say whether it asks for keys, and so nothing of it is shown. Try again.\n"


class ExposureGuard:
    """Lets nobody through before the service has refused a stranger, which it is asked for once a minute."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self.app, self._session = app, sessions.of(None)
        self._trusted_until: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] == "/healthz":
            await self.app(scope, receive, send)
            return
        why = await self._why_not()
        if why is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(why, 403 if why is _OPEN else 503)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _why_not(self) -> str | None:
        if self._trusted_until is not None and time.monotonic() < self._trusted_until:
            return None
        try:
            await self._session.ask(self._session.client.jobs, limit=1)
        except ApiError as error:
            if error.status != 401:
                return _UNKNOWN
        except UnreachableError:
            # One that asked for keys, and is started again: the pages say so themselves.
            return _UNKNOWN if self._trusted_until is None else None
        else:
            return _OPEN
        self._trusted_until = time.monotonic() + _TRUSTED_SECONDS
        return None
