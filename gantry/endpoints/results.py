"""Requests for what a job produced: samples, curves, previews, checkpoints and evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from gantry.arguments import as_list, path_of
from gantry.connection import MAX_PAGE_ITEMS, Connection, Json
from gantry.extras import require

if TYPE_CHECKING:
    from gantry.arrays import Curve
    from gantry.images import PreviewImage, Sample

Names = str | Sequence[str]
Labels = str | int | Sequence[str | int]

_MAX_SERIES_POINTS: Final = 10_000


class ResultEndpoints(Connection):
    """Requests for what a job produced."""

    def samples(
        self,
        job_id: str,
        *,
        labels: Labels = (),
        n: int = 8,
        seed: int = 0,
        checkpoint: str | None = None,
        truncation: float = 1.0,
        accept: str = "image/png",
    ) -> bytes:
        """Draw images from the job's generator and return a file of the media type `accept`.

        `labels` are names or ids of classes, or one of them. `accept` is image/png, application/zip,
        application/x-npz or application/json.
        """
        query: dict[str, Any] = {"label": as_list(labels), "n": n, "seed": seed, "truncation": truncation}
        if checkpoint is not None:
            query["checkpoint"] = checkpoint
        return self._send("GET", path_of("jobs", job_id, "samples"), params=query, headers={"Accept": accept}).content

    def images(
        self,
        job_id: str,
        *,
        labels: Labels = (),
        n: int = 8,
        seed: int = 0,
        checkpoint: str | None = None,
        truncation: float = 1.0,
    ) -> list[Sample]:
        """Draw `n` images of each label, and return each with its label and seed. No label means every class.

        `labels` are names or ids of classes, or one of them.
        """
        from gantry.images import read_samples  # noqa: PLC0415

        request: Json = {"labels": labels, "n": n, "seed": seed, "checkpoint": checkpoint, "truncation": truncation}
        return read_samples(self.samples(job_id, **request, accept="application/zip"))

    def classes(self, job_id: str) -> list[Json]:
        """Return the classes that the job's generator draws. The list is empty if it is unconditional."""
        return self._list(path_of("jobs", job_id, "classes"))

    def curves(self, job_id: str, *, names: Names = (), accept: str = "image/png") -> bytes:
        """Return the job's curves as a file of the media type `accept`: image/png, text/csv or application/json."""
        chosen = as_list(names)
        query = {"names": ",".join(chosen)} if chosen else None
        path = path_of("jobs", job_id, "metrics", "series")
        return self._send("GET", path, params=query, headers={"Accept": accept}).content

    def metrics(self, job_id: str) -> list[Json]:
        """Return a summary of each curve of the job: name, last value, minimum, maximum."""
        return self._list(path_of("jobs", job_id, "metrics"))

    def series(self, job_id: str, names: Names, max_points: int = 1000) -> Json:
        """Return the job's curves by name, as [step, value] pairs. Thinning keeps the extreme values."""
        query: dict[str, Any] = {"names": ",".join(as_list(names)), "max_points": max_points}
        return self._json("GET", path_of("jobs", job_id, "metrics", "series"), params=query)

    def arrays(self, job_id: str, names: Names = (), *, every_point: bool = False) -> dict[str, Curve]:
        """Return the job's curves by name, as NumPy arrays of steps and values. No name means all curves.

        A curve has at most 1,000 points, thinned so that its extreme values are kept, or all points if `every_point`
        is set. Raises `MissingExtraError` if NumPy is not installed.
        """
        require("`Client.arrays`", "arrays")
        from gantry.arrays import to_curve  # noqa: PLC0415

        chosen = as_list(names) or [metric["name"] for metric in self.metrics(job_id)]
        if not chosen:
            return {}
        if every_point:
            return {name: to_curve(list(self._every_point(job_id, name))) for name in chosen}
        return {name: to_curve(points) for name, points in self.series(job_id, chosen)["series"].items()}

    def previews(self, job_id: str) -> list[Json]:
        """Return the step and the address of every preview, in order of step."""
        return self._list(path_of("jobs", job_id, "previews"))

    def preview(self, job_id: str, step: int) -> bytes:
        """Return the preview of `step` as a PNG file."""
        return self._send("GET", path_of("jobs", job_id, "previews", f"{step}.png")).content

    def preview_images(self, job_id: str) -> list[PreviewImage]:
        """Return every preview of the job, in order of step. All are drawn from the same latents."""
        from gantry.images import PreviewImage, read_png  # noqa: PLC0415

        steps = [preview["step"] for preview in self.previews(job_id)]
        return [PreviewImage(step, read_png(self.preview(job_id, step))) for step in steps]

    def film(self, job_id: str) -> bytes:
        """Return the previews as an animated GIF file."""
        return self._send("GET", path_of("jobs", job_id, "previews.gif")).content

    def checkpoints(self, job_id: str) -> Json:
        """Return a page of the job's checkpoints, newest first."""
        return self._json("GET", path_of("jobs", job_id, "checkpoints"), params={"limit": MAX_PAGE_ITEMS})

    def weights(self, checkpoint_id: str, *, format: str = "safetensors") -> bytes:
        """Return the generator of a checkpoint as a file. `format` is safetensors or onnx."""
        query = {"part": "generator", "format": format}
        return self._send("GET", path_of("checkpoints", checkpoint_id, "content"), params=query).content

    def evaluations(self, job_id: str) -> Iterator[Json]:
        """Yield every evaluation of the job, newest first."""
        return self._pages(path_of("jobs", job_id, "evaluations"))

    def best_evaluation(self, job_id: str) -> Json | None:
        """Return the best evaluation of the job, or None before the first one."""
        return next((evaluation for evaluation in self.evaluations(job_id) if evaluation["is_best"]), None)

    def _every_point(self, job_id: str, name: str) -> Iterator[list[Any]]:
        """Yield every [step, value] pair of a curve."""
        query: dict[str, Any] = {"names": name, "reduce": "none"}
        while True:
            points = self._json("GET", path_of("jobs", job_id, "metrics", "series"), params=query)["series"][name]
            yield from points
            if len(points) < _MAX_SERIES_POINTS:
                return
            query["after_step"] = points[-1][0]
