"""How the dashboard asks the service: through the public client, in a thread, so that no page waits for another.

Each browser has a desk of its own, which knows the key that its visitor has signed in with. Keys are held in memory
alone: whoever asks after a restart of this process signs in again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from starlette.requests import Request

from api.client import Client

P = ParamSpec("P")
T = TypeVar("T")

COOKIE: Final = "gantry_visitor"
_MOST_VISITORS: Final = 1000


class Desks:
    """The service at `url`, for all pages of this process."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._stranger = Client(url, key="")
        self._known: OrderedDict[str, tuple[str, Client]] = OrderedDict()

    def of(self, request: Request | None) -> Desk:
        """The desk of whoever sent the request."""
        return Desk(self, "" if request is None else request.cookies.get(COOKIE, ""))

    def welcome(self, key: str) -> str:
        """A visitor with this key; the word by which the browser is known from now on."""
        word = secrets.token_urlsafe(32)
        self._known[word] = (key, Client(self.url, key=key))
        while len(self._known) > _MOST_VISITORS:
            self._known.popitem(last=False)[1][1].close()
        return word

    def dismiss(self, word: str) -> None:
        """Forget a visitor and the key."""
        if (found := self._known.pop(word, None)) is not None:
            found[1].close()

    def known(self, word: str) -> tuple[str, Client]:
        """A visitor's key and client; of strangers no key."""
        if word not in self._known:
            return "", self._stranger
        self._known.move_to_end(word)
        return self._known[word]

    def close(self) -> None:
        for _, client in self._known.values():
            client.close()
        self._stranger.close()


class Desk:
    """The service as one visitor may see it; looked up at each question, as the visitor may sign out meanwhile."""

    def __init__(self, desks: Desks, word: str) -> None:
        self._desks, self.word = desks, word
        self.url = desks.url

    @property
    def client(self) -> Client:
        return self._desks.known(self.word)[1]

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this visitor's carries."""
        key = self._desks.known(self.word)[0]
        return {"Authorization": f"Bearer {key}"} if key else {}

    @property
    def signed_in(self) -> bool:
        return bool(self.headers)

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the client's method answers. Raises `ApiError` and `Unreachable`, as it does."""
        return await asyncio.to_thread(question, *args, **kwargs)

    async def curves(self, job_id: str, names: Sequence[str], max_points: int = 1000) -> dict[str, Any]:
        """Those of these curves that the job has, as [step, value] pairs."""
        has = {metric["name"] for metric in await self.ask(self.client.metrics, job_id)}
        known = [name for name in names if name in has]
        if not known:
            return {}
        series: dict[str, Any] = (await self.ask(self.client.series, job_id, known, max_points))["series"]
        return {name: points for name, points in series.items() if points}
