"""A client that repeats unanswered requests with the same Idempotency-Key."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx2

RETRY_SECONDS: Final = 90
_MISSING_ENDPOINT: Final = (404, 405)


class UnansweredError(Exception):
    """No API has answered within `RETRY_SECONDS`."""


class LoadCaller:
    """A client of several APIs. Each try goes to a random one."""

    def __init__(self, urls: Sequence[str], seed: int) -> None:
        self._urls = list(urls)
        self._random = random.Random(seed)
        self._http = httpx2.Client(timeout=20, trust_env=False)
        self.repeats = 0
        """The number of repeated requests."""
        self.missing: set[str] = set()
        """Actions for which the service has no endpoint."""

    def submit(self, body: dict[str, Any], key: str) -> str:
        """Submit a job and return its id. Raises `UnansweredError`, and `AssertionError` if it is refused."""
        answer = self.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def ask(self, job_id: str, action: str) -> int:
        """Request an action on the job, such as `cancel`. Return the HTTP status. Raises `UnansweredError`."""
        if action in self.missing:
            return _MISSING_ENDPOINT[0]
        status = self.post(f"/v1/jobs/{job_id}/{action}").status_code
        if status in _MISSING_ENDPOINT:
            self.missing.add(action)
        return status

    def post(self, path: str, **content: Any) -> httpx2.Response:
        """Send a POST until the response is neither a 5xx nor a request to retry. Raises `UnansweredError`."""
        give_up = time.monotonic() + RETRY_SECONDS
        while time.monotonic() < give_up:
            answer = self._once(self._random.choice(self._urls) + path, content)
            if answer is not None and not _must_retry(answer):
                return answer
            self.repeats += 1
            time.sleep(self._random.uniform(0.05, 0.5))
        raise UnansweredError(f"POST {path} had no answer for {RETRY_SECONDS} s")

    def _once(self, url: str, content: dict[str, Any]) -> httpx2.Response | None:
        try:
            return self._http.post(url, **content)
        except httpx2.TransportError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()


def _must_retry(answer: httpx2.Response) -> bool:
    if answer.status_code == 409:
        return "in-progress" in str(answer.json().get("code", ""))
    return answer.status_code >= 500 or answer.status_code == 429
