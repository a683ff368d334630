"""The public HTTP API, from Python: all that the command line and the demo know of the service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

Json = dict[str, Any]

ENDED: Final = ("succeeded", "failed", "cancelled")

_LONGEST_PAGE: Final = 200
_WAIT_SECONDS: Final = 20
# A held request lasts _WAIT_SECONDS, a large sample on a busy CPU longer.
_LIMITS: Final = httpx2.Timeout(150, connect=5)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class ApiError(Exception):
    """The service refused; `code` is its stable word, `problem` the whole RFC 9457 body."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status, self.problem = status, problem
        self.code: str = problem.get("code", "unknown")
        super().__init__(problem.get("detail") or f"The service answered {status}.")


class Unreachable(Exception):
    """Nobody answers at the address."""


class Client:
    """One connection pool to the service at `url`; close it, or use it in a with block."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # A proxy of the environment leads away from this machine's own loopback.
        nearby = urlsplit(self.url).hostname in _LOOPBACK
        self._http = httpx2.Client(base_url=self.url, timeout=_LIMITS, trust_env=not nearby)

    def submit(self, body: Json, *, dry_run: bool = False) -> Json:
        """The job, stored; or, as a dry run, its spec and what it would take."""
        return self._json("POST", "/v1/jobs", json=body, params={"dry_run": "true"} if dry_run else None)

    def job(self, job_id: str) -> Json:
        return self._json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, **filters: str | int) -> Json:
        """A page of jobs, newest first."""
        return self._json("GET", "/v1/jobs", params=filters)

    def cancel(self, job_id: str) -> Json:
        return self._json("POST", f"/v1/jobs/{job_id}/cancel")

    def delete(self, job_id: str) -> None:
        self._send("DELETE", f"/v1/jobs/{job_id}")

    def watch(self, job_id: str) -> Iterator[Json]:
        """The job now, then at each change, until it has ended."""
        etag = None
        while True:
            headers: dict[str, str] = {"If-None-Match": etag, "Prefer": f"wait={_WAIT_SECONDS}"} if etag else {}
            answer = self._send("GET", f"/v1/jobs/{job_id}", headers=headers)
            if answer.status_code == 304:
                continue
            job: Json = answer.json()
            yield job
            if job["status"] in ENDED:
                return
            etag = answer.headers["ETag"]

    def samples(
        self,
        job_id: str,
        *,
        labels: Sequence[str] = (),
        n: int = 8,
        seed: int = 0,
        checkpoint: str | None = None,
        truncation: float = 1.0,
        accept: str = "image/png",
    ) -> bytes:
        """Images of the job's generator, as `accept` says."""
        query: dict[str, Any] = {"label": list(labels), "n": n, "seed": seed, "truncation": truncation}
        if checkpoint is not None:
            query["checkpoint"] = checkpoint
        return self._send("GET", f"/v1/jobs/{job_id}/samples", params=query, headers={"Accept": accept}).content

    def curves(self, job_id: str, *, names: Sequence[str] = (), accept: str = "image/png") -> bytes:
        """The job's curves, as `accept` says."""
        query = {"names": ",".join(names)} if names else None
        path = f"/v1/jobs/{job_id}/metrics/series"
        return self._send("GET", path, params=query, headers={"Accept": accept}).content

    def evaluations(self, job_id: str) -> Iterator[Json]:
        """Every evaluation of the job, newest first, page by page."""
        query: dict[str, Any] = {"limit": _LONGEST_PAGE}
        while True:
            page = self._json("GET", f"/v1/jobs/{job_id}/evaluations", params=query)
            yield from page["data"]
            if not page["has_more"]:
                return
            query["cursor"] = page["next_cursor"]

    def best_evaluation(self, job_id: str) -> Json | None:
        """None before there is one."""
        return next((found for found in self.evaluations(job_id) if found["is_best"]), None)

    def workers(self) -> Json:
        return self._json("GET", "/v1/workers")

    def ready(self) -> Json:
        """What /readyz says. Raises `ApiError` with the failing part named."""
        return self._json("GET", "/readyz")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _json(self, method: str, path: str, **content: Any) -> Json:
        answer: Json = self._send(method, path, **content).json()
        return answer

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"Nobody answers at {self.url} ({reason}); is `gantry up` running?") from error
        if response.is_error:
            raise ApiError(response.status_code, _problem(response))
        return response


def _problem(response: httpx2.Response) -> Json:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem: Json = response.json()
        return problem
    return {"detail": f"The service answered {response.status_code} and did not say why."}
