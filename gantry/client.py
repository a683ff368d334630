"""The public HTTP API, from Python: for people's own scripts, and all that the command line knows of the service.

    with Client("http://127.0.0.1:8000") as client:
        job = client.submit({"dataset": "fashion-mnist-mini", "total_steps": 2000})
        job = client.wait(job["id"])
        steps, loss = client.arrays(job["id"], ["loss_d"])["loss_d"]
        client.images(job["id"], labels=["Sneaker"])[0].image.show()

docs/python.md is the long form of it. Answers are the API's own JSON; what is an array or a picture is in `results`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from gantry.connection import (
    DEFAULT_URL,
    ApiError,
    BadSettingError,
    Connection,
    Json,
    Patience,
    UnreachableError,
)
from gantry.extras import require

if TYPE_CHECKING:
    from gantry.arrays import Curve
    from gantry.images import PreviewImage, Sample

__all__ = ["DEFAULT_URL", "ENDED", "ApiError", "BadSettingError", "Client", "Json", "UnreachableError", "stopping"]

ENDED: Final = ("succeeded", "failed", "cancelled")

_LONGEST_PAGE: Final = 200
_LONGEST_SERIES: Final = 10_000
_WAIT_SECONDS: Final = 20
_LOOK_SECONDS: Final = 0.3


def stopping(job: Json) -> str:
    """What a running job was told and has not done yet: `cancelling`, `pausing`; empty: to go on."""
    if job["status"] != "running":
        return ""
    if not job["allowed_actions"]:
        return "cancelling"
    return "pausing" if "resume" in job["allowed_actions"] else ""


class Client(Connection):
    """All requests to the service. Methods raise `ApiError` if it refuses and `UnreachableError` if none answers.

    It holds one connection pool; close it, or use it in a with block.
    """

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

    def save_checkpoint(self, job_id: str) -> Json:
        """Have a running job save one now; it is in the list within seconds."""
        return self._json("POST", f"/v1/jobs/{job_id}/checkpoints")

    def delete(self, job_id: str) -> None:
        self._send("DELETE", f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, seconds: float | None = None) -> Json:
        """The job, once it has ended, however that was: look at its status.

        Raises `TimeoutError` where it has not ended after so many seconds, and what `watch` raises.
        """
        return deque(self.watch(job_id, seconds), maxlen=1)[0]

    def watch(self, job_id: str, seconds: float | None = None) -> Iterator[Json]:
        """Yield the job now and after each change, until it has ended. Short outages of the service are waited out.

        Raises `ApiError`; `UnreachableError` if no service answers; `TimeoutError` after `seconds`.
        """
        etag, patience, began = None, Patience(), time.monotonic()
        while True:
            left = _WAIT_SECONDS if seconds is None else began + seconds - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{job_id} has not ended after {seconds:g} s; it goes on.")
            held = f"wait={min(_WAIT_SECONDS, math.ceil(left))}"
            headers: dict[str, str] = {"If-None-Match": etag, "Prefer": held} if etag else {}
            try:
                answer = self._send("GET", f"/v1/jobs/{job_id}", headers=headers)
            except (UnreachableError, ApiError) as error:
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

        Raises `ApiError`, and `UnreachableError` when nobody answers at first, or for a minute later on.
        """
        patience = Patience()
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
            except (UnreachableError, ApiError) as error:
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

    def images(
        self,
        job_id: str,
        *,
        labels: Sequence[str] = (),
        n: int = 8,
        seed: int = 0,
        checkpoint: str | None = None,
        truncation: float = 1.0,
    ) -> list[Sample]:
        """`n` images of each label (of every class without one), each with its label and its seed."""
        from gantry.images import read_samples  # noqa: PLC0415

        asked: Json = {"labels": labels, "n": n, "seed": seed, "checkpoint": checkpoint, "truncation": truncation}
        return read_samples(self.samples(job_id, **asked, accept="application/zip"))

    def metrics(self, job_id: str) -> list[Json]:
        """Every curve of the job in a line."""
        return self._list(f"/v1/jobs/{job_id}/metrics")

    def series(self, job_id: str, names: Sequence[str], max_points: int = 1000) -> Json:
        """The job's curves by name, as [step, value] pairs, thinned so that no spike is lost."""
        query: dict[str, Any] = {"names": ",".join(names), "max_points": max_points}
        return self._json("GET", f"/v1/jobs/{job_id}/metrics/series", params=query)

    def arrays(self, job_id: str, names: Sequence[str] = (), *, every_point: bool = False) -> dict[str, Curve]:
        """The job's curves by name (all of them without names), as arrays of steps and values.

        At most 1,000 points a curve, so thinned that no spike is lost; or every point there is.
        """
        require("`Client.arrays`", "arrays")
        from gantry.arrays import to_curve  # noqa: PLC0415

        names = names or [metric["name"] for metric in self.metrics(job_id)]
        if not names:
            return {}
        if not every_point:
            return {name: to_curve(points) for name, points in self.series(job_id, names)["series"].items()}
        return {name: to_curve(list(chain.from_iterable(self._whole(job_id, name)))) for name in names}

    def previews(self, job_id: str) -> list[Json]:
        """Every preview's step and address, in order of step."""
        return self._list(f"/v1/jobs/{job_id}/previews")

    def preview(self, job_id: str, step: int) -> bytes:
        """The preview of that step, a PNG."""
        return self._send("GET", f"/v1/jobs/{job_id}/previews/{step}.png").content

    def preview_images(self, job_id: str) -> list[PreviewImage]:
        """Every preview of the job, step and picture, in order of step: the same latents each time."""
        from gantry.images import PreviewImage, read_png  # noqa: PLC0415

        steps = [preview["step"] for preview in self.previews(job_id)]
        return [PreviewImage(step, read_png(self.preview(job_id, step))) for step in steps]

    def film(self, job_id: str) -> bytes:
        """The previews as an animated GIF."""
        return self._send("GET", f"/v1/jobs/{job_id}/previews.gif").content

    def classes(self, job_id: str) -> list[Json]:
        """The classes that the job's generator draws; none when it is unconditional."""
        return self._list(f"/v1/jobs/{job_id}/classes")

    def checkpoints(self, job_id: str) -> Json:
        """A page of the job's checkpoints, newest first."""
        return self._json("GET", f"/v1/jobs/{job_id}/checkpoints", params={"limit": _LONGEST_PAGE})

    def weights(self, checkpoint_id: str, *, format: str = "safetensors") -> bytes:
        """The generator of a checkpoint, as safetensors or onnx."""
        query = {"part": "generator", "format": format}
        return self._send("GET", f"/v1/checkpoints/{checkpoint_id}/content", params=query).content

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
        return next((found for found in self.evaluations(job_id) if found["is_best"]), None)

    def add_dataset(
        self, file: BinaryIO, file_name: str, *, name: str | None = None, size: int | None = None
    ) -> Json:
        """The data set, which is then `validating`. `file` is a zip; it is read once, and sent as it is read."""
        fields = {"name": name, "size": None if size is None else str(size)}
        sent = {key: value for key, value in fields.items() if value is not None}
        files = {"file": (file_name, file, "application/zip")}
        return self._json("POST", "/v1/datasets", data=sent, files=files)

    def upload(
        self, path: str | Path, *, name: str | None = None, size: int | None = None, seconds: float | None = None
    ) -> Json:
        """Add the zip at `path` as a data set, and wait until it is `ready`, or `failed` with its problems.

        Raises `OSError` where the file cannot be read, and `TimeoutError` as `wait` does.
        """
        with Path(path).open("rb") as file:
            made = self.add_dataset(file, Path(path).name, name=name, size=size)
        return deque(self.watch_dataset(made["id"], seconds), maxlen=1)[0]

    def watch_dataset(self, dataset_id: str, seconds: float | None = None) -> Iterator[Json]:
        """The data set now, then again and again, until it has been validated. Raises `TimeoutError`."""
        began = time.monotonic()
        while True:
            dataset = self.dataset(dataset_id)
            yield dataset
            if dataset["status"] != "validating":
                return
            if seconds is not None and time.monotonic() - began > seconds:
                raise TimeoutError(f"{dataset['name']} is not validated after {seconds:g} s; it goes on.")
            time.sleep(_LOOK_SECONDS)

    def datasets(self, **query: str | int) -> Json:
        """A page of data sets."""
        return self._json("GET", "/v1/datasets", params={"limit": _LONGEST_PAGE, **query})

    def dataset(self, name_or_id: str) -> Json:
        return self._json("GET", f"/v1/datasets/{quote(name_or_id, safe='')}")

    def delete_dataset(self, name_or_id: str) -> None:
        self._send("DELETE", f"/v1/datasets/{quote(name_or_id, safe='')}")

    def add_webhook(self, url: str, events: Sequence[str] = ()) -> Json:
        """The webhook with its secret, which is shown this once."""
        return self._create("/v1/webhooks", {"url": url, **({"events": list(events)} if events else {})})

    def webhooks(self) -> Json:
        """A page of webhooks."""
        return self._json("GET", "/v1/webhooks", params={"limit": _LONGEST_PAGE})

    def change_webhook(self, webhook_id: str, **changes: bool | Sequence[str]) -> Json:
        return self._json("PATCH", f"/v1/webhooks/{webhook_id}", json=changes)

    def delete_webhook(self, webhook_id: str) -> None:
        self._send("DELETE", f"/v1/webhooks/{webhook_id}")

    def test_webhook(self, webhook_id: str) -> Json:
        """The delivery of a `webhook.test`, which is then pending."""
        return self._create(f"/v1/webhooks/{webhook_id}/test", {})

    def deliveries(self, webhook_id: str, **query: str | int) -> Json:
        """A page of what the webhook was told, newest first."""
        return self._json("GET", f"/v1/webhooks/{webhook_id}/deliveries", params=query)

    def delivery(self, webhook_id: str, delivery_id: str) -> Json:
        return self._json("GET", f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}")

    def redeliver(self, webhook_id: str, delivery_id: str) -> Json:
        return self._json("POST", f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")

    def acts(self, **query: str | int) -> Json:
        return self._json("GET", "/v1/audit", params=query)

    def contact_sheet(self, name_or_id: str, *, labels: Sequence[str | int] = (), n: int = 8) -> bytes:
        """Real images of a data set as a PNG, a row a class."""
        path = f"/v1/datasets/{quote(name_or_id, safe='')}/contact-sheet"
        return self._send("GET", path, params={"label": list(labels), "n": n}).content

    def presets(self) -> Json:
        """A page of presets, the default first."""
        return self._json("GET", "/v1/presets", params={"limit": _LONGEST_PAGE})

    def preset(self, name: str) -> Json:
        return self._json("GET", f"/v1/presets/{quote(name, safe='')}")

    def schema(self) -> Json:
        """The JSON Schema of a job's body."""
        return self._json("GET", "/v1/schemas/job")

    def create_key(self, body: Json) -> Json:
        """A new key, which is in this answer alone."""
        return self._json("POST", "/v1/keys", json=body)

    def keys(self, **query: str | int) -> Json:
        """A page of keys, newest first."""
        return self._json("GET", "/v1/keys", params=query)

    def rotate_key(self, key_id: str, overlap_seconds: float) -> Json:
        """A new key in the place of that one, which goes on for so long."""
        return self._json("POST", f"/v1/keys/{key_id}/rotate", json={"overlap_seconds": overlap_seconds})

    def revoke_key(self, key_id: str) -> Json:
        return self._json("DELETE", f"/v1/keys/{key_id}")

    def tenants(self, **query: str | int) -> Json:
        """A page of tenants: quotas and usage."""
        return self._json("GET", "/v1/tenants", params=query)

    def limit_tenant(self, tenant: str, quotas: Json) -> Json:
        return self._json("PATCH", f"/v1/tenants/{tenant}", json=quotas)

    def workers(self, **query: str | int) -> Json:
        """A page of workers."""
        return self._json("GET", "/v1/workers", params=query)

    def drain(self, worker_id: str) -> Json:
        return self._json("POST", f"/v1/workers/{worker_id}/drain")

    def ready(self) -> Json:
        """What /readyz says. Raises `ApiError` with the failing part named."""
        return self._json("GET", "/readyz")

    def _whole(self, job_id: str, name: str) -> Iterator[list[list[Any]]]:
        """Every point of a curve, page by page."""
        query: dict[str, Any] = {"names": name, "reduce": "none"}
        while True:
            page = self._json("GET", f"/v1/jobs/{job_id}/metrics/series", params=query)["series"][name]
            yield page
            if len(page) < _LONGEST_SERIES:
                return
            query["after_step"] = page[-1][0]
