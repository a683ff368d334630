"""A client as the service asks for: it repeats what was not answered, with the same Idempotency-Key."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx2

PATIENCE_SECONDS: Final = 90
_NOT_THERE: Final = (404, 405)


class UnansweredError(Exception):
    """No API gave an answer that counts, for as long as we were patient."""


class LoadCaller:
    """Asks one API after the other."""

    def __init__(self, urls: Sequence[str], seed: int) -> None:
        self._urls = list(urls)
        self._random = random.Random(seed)
        self._http = httpx2.Client(timeout=20, trust_env=False)
        self.repeats = 0
        """Requests that were sent again."""
        self.missing: set[str] = set()
        """Addresses that the service does not have."""

    def submit(self, body: dict[str, Any], key: str) -> str:
        """POST a job until it is taken; its id. Raises `UnansweredError`; an assertion fails when it is refused."""
        answer = self.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def ask(self, job_id: str, what: str) -> int:
        """POST to an address of the job, such as `cancel`; the status of the answer. Raises `UnansweredError`."""
        if what in self.missing:
            return _NOT_THERE[0]
        status = self.post(f"/v1/jobs/{job_id}/{what}").status_code
        if status in _NOT_THERE:
            self.missing.add(what)
        return status

    def post(self, path: str, **content: Any) -> httpx2.Response:
        """Return the first response that is neither a 5xx error nor a request to try again."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            answer = self._once(self._random.choice(self._urls) + path, content)
            if answer is not None and not _comes_again(answer):
                return answer
            self.repeats += 1
            time.sleep(self._random.uniform(0.05, 0.5))
        raise UnansweredError(f"POST {path} had no answer for {PATIENCE_SECONDS} s")

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


def _comes_again(answer: httpx2.Response) -> bool:
    if answer.status_code == 409:
        return "in-progress" in str(answer.json().get("code", ""))
    return answer.status_code >= 500 or answer.status_code == 429
