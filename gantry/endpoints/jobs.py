"""Requests about jobs: submit, list, control, wait for them, and read their events."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from gantry.arguments import path_of
from gantry.backoff import Backoff
from gantry.connection import END, Connection, Json
from gantry.errors import ApiError, UnreachableError

ENDED: Final = ("succeeded", "failed", "cancelled")
"""The statuses of a job that never change again."""

_LONG_POLL_SECONDS: Final = 20


def stopping(job: Json) -> str:
    """Return what a running job was asked and has not done yet: "cancelling", "pausing", or "" for neither."""
    if job["status"] != "running":
        return ""
    if not job["allowed_actions"]:
        return "cancelling"
    return "pausing" if "resume" in job["allowed_actions"] else ""


class JobEndpoints(Connection):
    """Requests about jobs."""

    def submit(self, body: Json, *, dry_run: bool = False) -> Json:
        """Submit a job and return it. A dry run stores nothing: it returns the job's full spec and its estimate."""
        if dry_run:
            return self._json("POST", "/v1/jobs", json=body, params={"dry_run": "true"})
        return self._create("/v1/jobs", body)

    def retry(self, job_id: str, *, from_scratch: bool = False) -> Json:
        """Continue a failed or cancelled job as a new job, and return it.

        It starts from the last good checkpoint, or from the first step if `from_scratch` is set.
        """
        return self._create(path_of("jobs", job_id, "retry"), {"from": "scratch"} if from_scratch else {})

    def job(self, job_id: str) -> Json:
        """Return a job."""
        return self._json("GET", path_of("jobs", job_id))

    def jobs(self, **filters: str | int) -> Json:
        """Return a page of jobs, newest first."""
        return self._json("GET", "/v1/jobs", params=filters)

    def cancel(self, job_id: str) -> Json:
        """Cancel a job and return it. A running job saves a checkpoint first."""
        return self._json("POST", path_of("jobs", job_id, "cancel"))

    def pause(self, job_id: str) -> Json:
        """Pause a job and return it. A running job saves a checkpoint first."""
        return self._json("POST", path_of("jobs", job_id, "pause"))

    def resume(self, job_id: str) -> Json:
        """Resume a paused job and return it."""
        return self._json("POST", path_of("jobs", job_id, "resume"))

    def save_checkpoint(self, job_id: str) -> Json:
        """Ask a running job to save a checkpoint now. The checkpoint is listed within seconds."""
        return self._json("POST", path_of("jobs", job_id, "checkpoints"))

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, and its files."""
        self._send("DELETE", path_of("jobs", job_id))

    def wait(self, job_id: str, seconds: float | None = None) -> Json:
        """Wait until the job has ended and return it. Its status says how it ended.

        Raises `TimeoutError` if it has not ended after `seconds`, and the errors of `watch`.
        """
        return deque(self.watch(job_id, seconds), maxlen=1)[0]

    def watch(self, job_id: str, seconds: float | None = None) -> Iterator[Json]:
        """Yield the job now and after each change, until it has ended.

        Raises `ApiError`; `UnreachableError` if no service answers at first, or for a minute later on; and
        `TimeoutError` if the job has not ended after `seconds`.
        """
        etag, backoff, began = None, Backoff(), time.monotonic()
        while True:
            left = _LONG_POLL_SECONDS if seconds is None else began + seconds - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{job_id} has not ended after {seconds:g} s; it continues.")
            prefer = f"wait={min(_LONG_POLL_SECONDS, math.ceil(left))}"
            headers: dict[str, str] = {"If-None-Match": etag, "Prefer": prefer} if etag else {}
            try:
                response = self._send("GET", path_of("jobs", job_id), headers=headers)
            except (UnreachableError, ApiError) as error:
                backoff.wait(error)
                continue
            backoff.reset()
            if response.status_code == 304:
                continue
            job: Json = response.json()
            yield job
            if job["status"] in ENDED:
                return
            etag = response.headers["ETag"]

    def past_events(self, job_id: str, after: int = 0) -> Iterator[Json]:
        """Yield every event so far after the event `after`, oldest first."""
        return self._pages(path_of("jobs", job_id, "events"), "after", after=after)

    def events(self, job_id: str, after: int = 0) -> Iterator[Json]:
        """Yield each event after the event `after` as it happens, until the job has ended.

        A broken stream is continued after the last event. Raises `ApiError`, and `UnreachableError` if no service
        answers at first, or for a minute later on.
        """
        backoff = Backoff()
        while True:
            try:
                for message in self._stream(path_of("jobs", job_id, "events"), after):
                    backoff.reset()
                    if message.event == END:
                        return
                    if message.data:
                        event: Any = message.json()
                        after = event["seq"]
                        yield event
            except (UnreachableError, ApiError) as error:
                backoff.wait(error)
            else:
                backoff.wait()
