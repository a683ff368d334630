"""How the dashboard asks the service: through the public client, in a thread, so that no page waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from api.client import Client

P = ParamSpec("P")
T = TypeVar("T")


class Desk:
    """The service at `url`, for all pages of this process."""

    def __init__(self, url: str) -> None:
        self.client = Client(url)
        self.url = self.client.url

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the client's method answers. Raises `ApiError` and `Unreachable`, as it does."""
        return await asyncio.to_thread(question, *args, **kwargs)

    async def curves(self, job_id: str, names: Sequence[str]) -> dict[str, Any]:
        """Those of these curves that the job has, as [step, value] pairs."""
        has = {metric["name"] for metric in await self.ask(self.client.metrics, job_id)}
        known = [name for name in names if name in has]
        series: dict[str, Any] = (await self.ask(self.client.series, job_id, known))["series"] if known else {}
        return {name: points for name, points in series.items() if points}

    def close(self) -> None:
        self.client.close()
