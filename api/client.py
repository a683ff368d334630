"""The public HTTP API, from Python: all that the command line and the demo know of the service."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Final, Self
from urllib.parse import quote, urlsplit

import httpx2

Json = dict[str, Any]

ENDED: Final = ("succeeded", "failed", "cancelled")

_LONGEST_PAGE: Final = 200
_WAIT_SECONDS: Final = 20
# A held request lasts _WAIT_SECONDS, a large sample on a busy CPU longer.
_LIMITS: Final = httpx2.Timeout(150, connect=5)
# A stream says every 15 s that it is there.
_STREAM_LIMITS: Final = httpx2.Timeout(5, read=45)
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
# Before what may have been heard is sent again; together, as long as a service takes to be started anew.
_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
_PATIENCE_SECONDS: Final = 60
_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class ApiError(Exception):
    """The service refused; `code` is its stable word, `problem` the whole RFC 9457 body."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status, self.problem = status, problem
        self.code: str = problem.get("code", "unknown")
        super().__init__(problem.get("detail") or f"The service answered {status}.")


class Unreachable(Exception):
    """Nobody answers at the address."""


class _Patience:
    """With a service that was heard and is away for a moment, as while it is started again."""

    def __init__(self) -> None:
        self._ever_heard, self._pause = False, _FIRST_PAUSE_SECONDS
        self._lost_at: float | None = None

    def heard(self) -> None:
        self._ever_heard, self._lost_at, self._pause = True, None, _FIRST_PAUSE_SECONDS

    def wait(self, error: Unreachable | ApiError | None = None) -> None:
        """Sleep for a little, each time longer; raise `error` where it does not pass, or has lasted for a minute."""
        self._lost_at = self._lost_at or time.monotonic()
        lasting = isinstance(error, ApiError) and error.status != 503
        too_long = time.monotonic() - self._lost_at > _PATIENCE_SECONDS
        if error is not None and (lasting or not self._ever_heard or too_long):
            raise error
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)


class Client:
    """One connection pool to the service at `url`; close it, or use it in a with block."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # A proxy of the environment leads away from this machine's own loopback.
        self.trusts_environment = urlsplit(self.url).hostname not in _LOOPBACK
        self._http = httpx2.Client(base_url=self.url, timeout=_LIMITS, trust_env=self.trusts_environment)

    def submit(self, body: Json, *, dry_run: bool = False) -> Json:
        """The job, stored; or, as a dry run, its spec and what it would take."""
        if dry_run:
            return self._json("POST", "/v1/jobs", json=body, params={"dry_run": "true"})
        return self._create("/v1/jobs", body)

    def retry(self, job_id: str, *, from_scratch: bool = False) -> Json:
        """The new job, which goes on where the failed or cancelled one was; or from its first step."""
        return self._create(f"/v1/jobs/{job_id}/retry", {"from": "scratch"} if from_scratch else {})

    def job(self, job_id: str) -> Json:
        return self._json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, **filters: str | int) -> Json:
        """A page of jobs, newest first."""
        return self._json("GET", "/v1/jobs", params=filters)

    def cancel(self, job_id: str) -> Json:
        return self._json("POST", f"/v1/jobs/{job_id}/cancel")

    def pause(self, job_id: str) -> Json:
        return self._json("POST", f"/v1/jobs/{job_id}/pause")

    def resume(self, job_id: str) -> Json:
        return self._json("POST", f"/v1/jobs/{job_id}/resume")

    def delete(self, job_id: str) -> None:
        self._send("DELETE", f"/v1/jobs/{job_id}")

    def watch(self, job_id: str) -> Iterator[Json]:
        """The job now, then at each change, until it has ended; a service that is away for a moment is waited for.

        Raises `ApiError`, and `Unreachable` when nobody answers at first, or for a minute later on.
        """
        etag, patience = None, _Patience()
        while True:
            headers: dict[str, str] = {"If-None-Match": etag, "Prefer": f"wait={_WAIT_SECONDS}"} if etag else {}
            try:
                answer = self._send("GET", f"/v1/jobs/{job_id}", headers=headers)
            except (Unreachable, ApiError) as error:
                patience.wait(error)
                continue
            patience.heard()
            if answer.status_code == 304:
                continue
            job: Json = answer.json()
            yield job
            if job["status"] in ENDED:
                return
            etag = answer.headers["ETag"]

    def past_events(self, job_id: str, after: int = 0) -> Iterator[Json]:
        """What has happened past the event `after`, page by page."""
        query: dict[str, Any] = {"limit": _LONGEST_PAGE, "after": after}
        while True:
            page = self._json("GET", f"/v1/jobs/{job_id}/events", params=query)
            yield from page["data"]
            if not page["has_more"]:
                return
            query["after"] = page["next_cursor"]

    def events(self, job_id: str, after: int = 0) -> Iterator[Json]:
        """Each event past `after`, as it happens, until the job has ended; cut off, it goes on where it was.

        Raises `ApiError`, and `Unreachable` when nobody answers at first, or for a minute later on.
        """
        patience = _Patience()
        while True:
            try:
                for told in self._stream(job_id, after):
                    patience.heard()
                    if told.event == "stream.end":
                        return
                    if told.data:
                        event: Any = told.json()
                        after = event["seq"]
                        yield event
            except (Unreachable, ApiError) as error:
                patience.wait(error)
            else:
                patience.wait()

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

    def metrics(self, job_id: str) -> list[Json]:
        """Every curve of the job in a line."""
        return self._list(f"/v1/jobs/{job_id}/metrics")

    def series(self, job_id: str, names: Sequence[str], max_points: int = 1000) -> Json:
        """The job's curves by name, as [step, value] pairs, thinned so that no spike is lost."""
        query: dict[str, Any] = {"names": ",".join(names), "max_points": max_points}
        return self._json("GET", f"/v1/jobs/{job_id}/metrics/series", params=query)

    def previews(self, job_id: str) -> list[Json]:
        """Every preview's step and address, in order of step."""
        return self._list(f"/v1/jobs/{job_id}/previews")

    def classes(self, job_id: str) -> list[Json]:
        """The classes that the job's generator draws; none when it is unconditional."""
        return self._list(f"/v1/jobs/{job_id}/classes")

    def checkpoints(self, job_id: str) -> Json:
        """A page of the job's checkpoints, newest first."""
        return self._json("GET", f"/v1/jobs/{job_id}/checkpoints", params={"limit": _LONGEST_PAGE})

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

    def add_dataset(
        self, file: BinaryIO, file_name: str, *, name: str | None = None, size: int | None = None
    ) -> Json:
        """The data set, which is then `validating`. `file` is a zip; it is read once, and sent as it is read."""
        fields = {"name": name, "size": None if size is None else str(size)}
        sent = {key: value for key, value in fields.items() if value is not None}
        files = {"file": (file_name, file, "application/zip")}
        return self._json("POST", "/v1/datasets", data=sent, files=files)

    def datasets(self, **query: str | int) -> Json:
        """A page of data sets."""
        return self._json("GET", "/v1/datasets", params={"limit": _LONGEST_PAGE, **query})

    def dataset(self, name_or_id: str) -> Json:
        return self._json("GET", f"/v1/datasets/{quote(name_or_id, safe='')}")

    def delete_dataset(self, name_or_id: str) -> None:
        self._send("DELETE", f"/v1/datasets/{quote(name_or_id, safe='')}")

    def presets(self) -> Json:
        """A page of presets, the default first."""
        return self._json("GET", "/v1/presets", params={"limit": _LONGEST_PAGE})

    def workers(self, **query: str | int) -> Json:
        """A page of workers."""
        return self._json("GET", "/v1/workers", params=query)

    def drain(self, worker_id: str) -> Json:
        return self._json("POST", f"/v1/workers/{worker_id}/drain")

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

    def _create(self, path: str, body: Json) -> Json:
        """Have something made, once: sent again with the same key when the connection breaks."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        pauses = list(_PAUSES_SECONDS)
        while True:
            try:
                return self._json("POST", path, json=body, headers=headers)
            except Unreachable as error:
                first = len(pauses) == len(_PAUSES_SECONDS)
                if not pauses or (first and isinstance(error.__cause__, _NEVER_SENT)):
                    raise
            time.sleep(pauses.pop(0))

    def _list(self, path: str) -> list[Json]:
        answer: list[Json] = self._send("GET", path).json()
        return answer

    def _json(self, method: str, path: str, **content: Any) -> Json:
        answer: Json = self._send(method, path, **content).json()
        return answer

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise ApiError(response.status_code, _problem(response))
        return response

    def _stream(self, job_id: str, after: int) -> Iterator[httpx2.ServerSentEvent]:
        path, headers = f"/v1/jobs/{job_id}/events", {"Last-Event-ID": str(after)}
        try:
            with self._http.sse(path, headers=headers, timeout=_STREAM_LIMITS) as source:
                if source.response.is_error:
                    source.response.read()
                    raise ApiError(source.response.status_code, _problem(source.response))
                yield from source
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx2.TransportError) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(f"Nobody answers at {self.url} ({reason}); is `gantry up` running?")


def _problem(response: httpx2.Response) -> Json:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem: Json = response.json()
        return problem
    return {"detail": f"The service answered {response.status_code} and did not say why."}
