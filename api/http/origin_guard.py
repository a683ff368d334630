"""The origin guard: while the service requires no key, it refuses requests that other web pages make.

A browser on this machine may show a page of any web site. Where keys are required, such a page has none. Without keys
it would need the address only. Through DNS rebinding (its own host name that resolves to this machine) it could read
everything, and with a plain HTML form it could change things without reading the response. `Host` reveals the first
attack and `Origin` the second; no page can set either header.
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
from api.http.security_headers import SecurityHeaders, api_headers
from jobs.runtime.settings import Settings

_log = structlog.get_logger("gantry.api")
_READS: Final = ("GET", "HEAD", "OPTIONS")
_KEYS_HELP: Final = "Set GANTRY_AUTH=on to require keys; then every client with a key may use it."


class OriginGuard:
    """A middleware that refuses requests and WebSockets of other pages with 403, before any other code sees them."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self.app, self._hosts, self._origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, or refuse: 403 over HTTP, close code 1008 on a WebSocket."""
        reason = self._refusal_reason(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self.app(scope, receive, send)
            return
        _log.warning("request of another page refused", path=scope["path"], reason=reason)
        if scope["type"] == "http":
            refusal = problem(scope["path"], 403, "foreign-page", reason)
            await SecurityHeaders(refusal, api_headers)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "foreign-page"})

    def _refusal_reason(self, scope: Scope) -> str | None:
        """Return why the request is refused; None if it is allowed."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host and not self._is_own_host(host):
            return (
                "This service requires no key. Therefore it accepts only requests that are addressed to a name of "
                f"this machine, and {host[:200]!r} is not one. {_KEYS_HELP}"
            )
        # The browser itself refuses to read across origins, because of the headers of the response. It does not
        # refuse a WebSocket.
        if scope["type"] == "http" and scope["method"] in _READS:
            return None
        if origin is not None and origin.partition("://")[2] != host and not {origin, "*"} & set(self._origins):
            return (
                f"This service requires no key. Therefore a page at {origin[:200]!r} may not change anything here. "
                f"{_KEYS_HELP} Set GANTRY_CORS_ORIGINS to the origins of pages that may."
            )
        return None

    def _is_own_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
                return True
            return ip_address(name).is_loopback
        except ValueError:  # neither a valid host name nor an IP address
            return False


def guarded(app: ASGIApp, settings: Settings, *, origins: Sequence[str] = ()) -> ASGIApp:
    """Return `app` behind an `OriginGuard`; `app` itself where the settings require keys."""
    if settings.asks_for_keys:
        return app
    return OriginGuard(app, [settings.host, urlsplit(settings.url).hostname or ""], origins)
