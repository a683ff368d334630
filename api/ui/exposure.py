"""The guard of a dashboard that other machines can reach: it requires a service that asks for API keys.

A service without keys listens on its own machine only. A dashboard on the network would bypass that limit.
"""

from __future__ import annotations

import time
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.ui.sessions import Sessions
from gantry.client import ApiError, UnreachableError

_TRUSTED_SECONDS: Final = 60.0
_NO_KEYS: Final = (
    "This dashboard can be reached over the network, but the service behind it does not ask for API keys: every "
    "visitor could do anything. Start the service with GANTRY_AUTH=on, or start the dashboard on 127.0.0.1.\n"
)
_UNKNOWN: Final = (
    "The dashboard cannot check whether the service asks for API keys, so it shows nothing. Try again.\n"
)


class ExposureGuard:
    """The ASGI middleware that blocks requests until the service has refused a request without a key.

    It repeats this check at most once a minute. A block is a 403 or 503 in HTTP and close code 1008 on a WebSocket.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self.app, self._session = app, sessions.of(None)
        self._trusted_until: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, or block the request; `/healthz` always passes."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == "/healthz":
            await self.app(scope, receive, send)
            return
        reason = await self._block_reason()
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(reason, 403 if reason is _NO_KEYS else 503)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _block_reason(self) -> str | None:
        """Return why requests are blocked, or None if the service asks for keys."""
        if self._trusted_until is not None and time.monotonic() < self._trusted_until:
            return None
        try:
            await self._session.call(self._session.client.jobs, limit=1)
        except ApiError as error:
            if error.status != 401:
                return _UNKNOWN
        except UnreachableError:
            # The service asked for keys before and may be restarting: the pages show that it does not answer.
            return _UNKNOWN if self._trusted_until is None else None
        else:
            return _NO_KEYS
        self._trusted_until = time.monotonic() + _TRUSTED_SECONDS
        return None
