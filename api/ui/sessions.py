"""How the dashboard asks the service: through the public client, in a thread, so that no page waits for another.

Each browser has a desk of its own, which knows the key that its visitor has signed in with. Keys are held in memory
alone: whoever asks after a restart of this process signs in again.
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
"""How long a visitor is known: the cookie as well as the key."""
_MOST_VISITORS: Final = 1000
# Most of them wait for an answer: samples that are drawn are not to keep the pages from theirs.
_MOST_QUESTIONS: Final = 64


@dataclass(frozen=True, eq=False)
class _Session:
    key: str
    client: Client
    until: float = float("inf")
    """On the monotonic clock."""


class Sessions:
    """The service at `url`, for all pages of this process."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.threads = ThreadPoolExecutor(_MOST_QUESTIONS, thread_name_prefix="gantry-desk")
        self._stranger = _Session("", Client(url, key=""))
        self._visitors: OrderedDict[str, _Session] = OrderedDict()

    def of(self, request: Request | None) -> Desk:
        """The desk of whoever sent the request."""
        return Desk(self, "" if request is None else request.cookies.get(COOKIE, ""))

    def welcome(self, key: str) -> str:
        """A visitor with this key; the word by which the browser is known for `STAY_SECONDS`."""
        word = secrets.token_urlsafe(32)
        self._visitors[word] = _Session(key, Client(self.url, key=key), time.monotonic() + STAY_SECONDS)
        while len(self._visitors) > _MOST_VISITORS:
            self._visitors.popitem(last=False)[1].client.close()
        return word

    def dismiss(self, word: str) -> None:
        """Forget a visitor and the key."""
        if (found := self._visitors.pop(word, None)) is not None:
            found.client.close()

    def known(self, word: str) -> _Session:
        """Who goes by the word; whom it is too long ago is a stranger again, without a key."""
        found = self._visitors.get(word)
        if found is None:
            return self._stranger
        if time.monotonic() > found.until:
            self.dismiss(word)
            return self._stranger
        self._visitors.move_to_end(word)
        return found

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        for visitor in (*self._visitors.values(), self._stranger):
            visitor.client.close()


class Desk:
    """The service as one visitor may see it; looked up at each question, as the visitor may sign out meanwhile."""

    def __init__(self, sessions: Sessions, word: str) -> None:
        self._sessions, self.word = sessions, word
        self.url = sessions.url

    @property
    def client(self) -> Client:
        return self._sessions.known(self.word).client

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this visitor's carries."""
        key = self._sessions.known(self.word).key
        return {"Authorization": f"Bearer {key}"} if key else {}

    @property
    def signed_in(self) -> bool:
        return bool(self.headers)

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the client's method answers. Raises `ApiError` and `UnreachableError`, as it does."""
        return await asyncio.get_running_loop().run_in_executor(
            self._sessions.threads, partial(question, *args, **kwargs)
        )

    async def curves(self, job_id: str, names: Sequence[str], max_points: int = 1000) -> dict[str, Any]:
        """Those of these curves that the job has, as [step, value] pairs."""
        has = {metric["name"] for metric in await self.ask(self.client.metrics, job_id)}
        known = [name for name in names if name in has]
        if not known:
            return {}
        series: dict[str, Any] = (await self.ask(self.client.series, job_id, known, max_points))["series"]
        return {name: points for name, points in series.items() if points}
