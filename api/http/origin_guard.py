"""While nobody is asked for a key: what a page of somebody else's asks, in a browser on this machine, is refused.

Where keys are asked for, they are what such a page does not have. Without them it would need the address alone: by a
name of its own that leads to this machine (DNS rebinding) it could read all, and by a plain form it could change
things without reading an answer. `Host` shows the one, `Origin` the other; no page can set either.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import problem
from api.http.security_headers import SecurityHeaders, of_api
from jobs.runtime.settings import Settings

_log = structlog.get_logger("gantry.api")
_READS: Final = ("GET", "HEAD", "OPTIONS")
_KEYS_HELP: Final = "With GANTRY_AUTH=on, which asks for keys, it answers whoever has one."


class OriginGuard:
    """Refuses them with 403, before anything else sees the request; WebSockets too."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self.app, self._hosts, self._origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        why = self._why_not(scope) if scope["type"] in ("http", "websocket") else None
        if why is None:
            await self.app(scope, receive, send)
            return
        _log.warning("a page of somebody else's was refused", path=scope["path"], why=why)
        if scope["type"] == "http":
            refusal = problem(scope["path"], 403, "foreign-page", why)
            await SecurityHeaders(refusal, of_api)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "foreign-page"})

    def _why_not(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host and not self._is_ours(host):
            return (
                f"This service asks nobody for a key, and so answers by the names of this machine alone, not as "
                f"{host[:200]!r}. {_KEYS_HELP}"
            )
        # Reading across origins is the browser's to refuse, by the answer's headers; a WebSocket it does not refuse.
        if scope["type"] == "http" and scope["method"] in _READS:
            return None
        if origin is not None and origin.partition("://")[2] != host and not {origin, "*"} & set(self._origins):
            return (
                f"This service asks nobody for a key, and so a page at {origin[:200]!r} may change nothing here. "
                f"{_KEYS_HELP} GANTRY_CORS_ORIGINS names pages that may."
            )
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
                return True
            return ip_address(name).is_loopback
        except ValueError:  # it is neither a name that can be nor an address
            return False


def guarded(app: ASGIApp, settings: Settings, *, origins: Sequence[str] = ()) -> ASGIApp:
    """`app`, as it is served by these settings."""
    if settings.asks_for_keys:
        return app
    return OriginGuard(app, [settings.host, urlsplit(settings.url).hostname or ""], origins)
