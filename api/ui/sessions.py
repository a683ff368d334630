"""Sessions: the calls of the dashboard to the service, with the API key that each browser has signed in with.

Calls use the public client in a thread pool, so that no page blocks another. Keys are held in memory only: after a
restart of this process every visitor signs in again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from starlette.requests import Request

from gantry.client import Client

P = ParamSpec("P")
T = TypeVar("T")

COOKIE: Final = "gantry_visitor"
STAY_SECONDS: Final = 7 * 86_400
"""The lifetime of a sign-in: of the cookie and of the key in memory."""
_MAX_SIGN_INS: Final = 1000
# Most threads only wait for a response. There are many of them so that slow samples do not delay the pages.
_MAX_CONCURRENT_CALLS: Final = 64


@dataclass(frozen=True, eq=False)
class _SignIn:
    """One key and its client."""

    key: str
    client: Client
    expires_at: float = float("inf")
    """On the monotonic clock."""


class Sessions:
    """The sign-ins of all browsers to the service at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.threads = ThreadPoolExecutor(_MAX_CONCURRENT_CALLS, thread_name_prefix="gantry-session")
        self._anonymous = _SignIn("", Client(url, key=""))
        self._sign_ins: OrderedDict[str, _SignIn] = OrderedDict()

    def of(self, request: Request | None) -> BrowserSession:
        """Return the session of the browser that sent the request."""
        return BrowserSession(self, "" if request is None else request.cookies.get(COOKIE, ""))

    def sign_in(self, key: str) -> str:
        """Keep `key` for `STAY_SECONDS` and return the random token that identifies the browser.

        Beyond 1000 sign-ins, the one used longest ago is dropped.
        """
        token = secrets.token_urlsafe(32)
        self._sign_ins[token] = _SignIn(key, Client(self.url, key=key), time.monotonic() + STAY_SECONDS)
        while len(self._sign_ins) > _MAX_SIGN_INS:
            self._sign_ins.popitem(last=False)[1].client.close()
        return token

    def sign_out(self, token: str) -> None:
        """Forget the key of this token."""
        if (dropped := self._sign_ins.pop(token, None)) is not None:
            dropped.client.close()

    def get(self, token: str) -> _SignIn:
        """Return the sign-in of this token, or the one without a key if the token is unknown or expired."""
        found = self._sign_ins.get(token)
        if found is None:
            return self._anonymous
        if time.monotonic() > found.expires_at:
            self.sign_out(token)
            return self._anonymous
        self._sign_ins.move_to_end(token)
        return found

    def close(self) -> None:
        """Close all clients and cancel calls that have not started."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for sign_in in (*self._sign_ins.values(), self._anonymous):
            sign_in.client.close()


class BrowserSession:
    """The service as one browser sees it. Each call looks up the key, because the visitor may sign out meanwhile."""

    def __init__(self, sessions: Sessions, token: str) -> None:
        self._sessions, self.token = sessions, token
        self.url = sessions.url

    @property
    def client(self) -> Client:
        """The client with the key of this browser."""
        return self._sessions.get(self.token).client

    @property
    def headers(self) -> dict[str, str]:
        """The authorization header of this browser; empty without a key."""
        key = self._sessions.get(self.token).key
        return {"Authorization": f"Bearer {key}"} if key else {}

    @property
    def signed_in(self) -> bool:
        """Whether this browser has a key."""
        return bool(self.headers)

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the client in a thread and return its result. Raises `ApiError` or `UnreachableError`."""
        return await asyncio.get_running_loop().run_in_executor(
            self._sessions.threads, partial(method, *args, **kwargs)
        )

    async def curves(self, job_id: str, names: Sequence[str], max_points: int = 1000) -> dict[str, Any]:
        """Return the curves of the job among `names`, as [step, value] pairs. Curves without points are left out."""
        available = {metric["name"] for metric in await self.call(self.client.metrics, job_id)}
        wanted = [name for name in names if name in available]
        if not wanted:
            return {}
        series: dict[str, Any] = (await self.call(self.client.series, job_id, wanted, max_points))["series"]
        return {name: points for name, points in series.items() if points}
