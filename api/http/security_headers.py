"""What a browser is told with every answer: never guess its type, frame it, run it, keep it, tell where it was.

For the API and for the dashboard; an answer that says something of its own about one of these keeps it.
"""

from __future__ import annotations

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
# Both of these draw themselves with scripts that stand within the page; all of it is served from here.
_PAGES: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_DASHBOARD: Final = {
    # Vue makes its templates into functions while it runs.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
}
_ONE_YEAR: Final = "max-age=31536000"
# To be saved, and never shown in place.
_FILES: Final = ("application/octet-stream", "application/x-npz", "application/zip", "text/csv")
_DOCUMENTATION: Final = ("/docs", "/redoc", "/static-offline-docs/")

Rules = Callable[[Scope], Mapping[str, str]]


def of_api(scope: Scope) -> dict[str, str]:
    """For an answer of the API: data, but for the pages that document it."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return {**_ALWAYS, **(_PAGES if path.startswith(_DOCUMENTATION) else _DATA), **_over_tls(scope)}


def of_dashboard(scope: Scope) -> dict[str, str]:
    """For an answer of the dashboard."""
    return {**_ALWAYS, **_DASHBOARD, **_over_tls(scope)}


def _over_tls(scope: Scope) -> dict[str, str]:
    # By the X-Forwarded-Proto of a proxy that uvicorn trusts: one on this host, or of FORWARDED_ALLOW_IPS.
    return {"Strict-Transport-Security": _ONE_YEAR} if scope["scheme"] == "https" else {}


class SecurityHeaders:
    """Adds what `rules` say to every answer that does not say it itself."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._rules(scope).items():
                    headers.setdefault(name, value)
                if headers.get("content-type", "").partition(";")[0] in _FILES:
                    headers.setdefault("Content-Disposition", "attachment")
            await send(message)

        await self.app(scope, receive, told)
