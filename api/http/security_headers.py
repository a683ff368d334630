"""Security headers of every response: no type sniffing, no frames, no scripts, no caching, no referrer.

They are for the API and for the dashboard. A response that sets one of these headers itself keeps its own value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_DATA: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
# Both documentation pages use inline scripts. All their files come from this service.
_DOCUMENTATION_PAGES: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_DASHBOARD: Final = {
    # Vue compiles its templates to functions at run time, which needs 'unsafe-eval'.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
}
_ONE_YEAR: Final = "max-age=31536000"
# Browsers must save these types, and never show them in the page.
_FILES: Final = ("application/octet-stream", "application/x-npz", "application/zip", "text/csv")
_DOCUMENTATION_PATHS: Final = ("/docs", "/redoc", "/static-offline-docs/")

_FOR_EVER: Final = "public, max-age=31536000, immutable"
# The files of NiceGUI that have a digest in their path. It would add this header itself, but not below a mount path.
_HASHED: Final = re.compile(r"/_nicegui/\d[^/]*/(libraries|components|esm)/")

Rules = Callable[[Scope], Mapping[str, str]]


def api_headers(scope: Scope) -> dict[str, str]:
    """Return the headers for a response of the API: for data, or for a page of its documentation."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    headers = _DOCUMENTATION_PAGES if path.startswith(_DOCUMENTATION_PATHS) else _DATA
    return {**_ALWAYS, **headers, **_over_tls(scope)}


def dashboard_headers(scope: Scope) -> dict[str, str]:
    """Return the headers for a response of the dashboard."""
    cached = {"Cache-Control": _FOR_EVER} if _HASHED.search(scope["path"]) else {}
    return {**_ALWAYS, **_DASHBOARD, **cached, **_over_tls(scope)}


def _over_tls(scope: Scope) -> dict[str, str]:
    # uvicorn takes the scheme from X-Forwarded-Proto if it trusts the proxy: on this host, or in FORWARDED_ALLOW_IPS.
    return {"Strict-Transport-Security": _ONE_YEAR} if scope["scheme"] == "https" else {}


class SecurityHeaders:
    """A middleware that adds the headers of `rules` to every response that does not have them."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app and add the headers. An error is not cached, and a file is sent as an attachment."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if message["status"] >= 400:  # no error may outlast its cause in a cache
                    headers.setdefault("Cache-Control", "no-store")
                for name, value in self._rules(scope).items():
                    headers.setdefault(name, value)
                if headers.get("content-type", "").partition(";")[0] in _FILES:
                    headers.setdefault("Content-Disposition", "attachment")
            await send(message)

        await self.app(scope, receive, add_headers)
