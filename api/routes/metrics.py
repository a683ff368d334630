"""Curves of a job: their summaries, their points, and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import numpy as np
from fastapi import APIRouter, Header, Query, Response

from api.context import JobsRead
from api.http.errors import BadParametersError
from api.http.headers import VARY, negotiate
from api.http.parameters import split
from api.openapi import files
from api.samples import plots
from api.schemas.progress import MetricView, SeriesView
from api.views.progress import metric_view
from gan.spec import SpecProblem
from jobs.curves import ReducedCurve, head, reduce_minmax
from jobs.store import jobs, metrics

MOST_POINTS: Final = 10_000
_DEFAULT_POINTS: Final = 1_000

router = APIRouter(prefix="/v1/jobs/{job_id}/metrics", tags=["progress"])

_OFFERED: Final = ("application/json", "text/csv", "image/png")
_LAST_STEP: Final = 2**53
_Step = Annotated[int | None, Query(ge=0, le=_LAST_STEP)]


@router.get("")
def list_metrics(context: JobsRead, job_id: str) -> list[MetricView]:
    """List the summaries of all curves."""
    with context.read() as s:
        jobs.get(s, job_id)
        return [metric_view(row) for row in metrics.summaries(s, job_id)]


@router.get("/series", response_model=SeriesView, responses={200: {"content": files("text/csv", "image/png")}})
def get_series(
    context: JobsRead,
    job_id: str,
    names: Annotated[
        str | None,
        Query(
            description="Names of curves, separated by commas. Default: all curves; for a plot, the losses.",
            json_schema_extra={"pattern": r"^[a-z0-9_.]+(,[a-z0-9_.]+)*$"},
        ),
    ] = None,
    from_step: _Step = None,
    to_step: _Step = None,
    after_step: Annotated[int | None, Query(ge=0, le=_LAST_STEP, description="Only steps after this one.")] = None,
    max_points: Annotated[
        int | None,
        Query(
            ge=4,
            le=MOST_POINTS,
            description="The largest number of points of each curve. Default: 1000 if reduced; otherwise the first "
            "10000, continue with after_step.",
        ),
    ] = None,
    reduce: Annotated[
        Literal["minmax", "none"],
        Query(
            description="minmax divides a curve into buckets and keeps the first, min, max and last point of each."
        ),
    ] = "minmax",
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Return the points of the curves, reduced so that no spike is lost.

    `Accept` chooses: JSON, CSV, or a plot of the losses as image/png.
    """
    media = negotiate(accept, _OFFERED)
    first = _first_step(from_step, to_step, after_step)
    with context.read() as s:
        job = jobs.get(s, job_id)
        wanted = split(names, "names") or _all_names(metrics.names_of(s, job_id), media)
        whole = metrics.series(s, job_id, wanted, first, to_step)
    reduce_curve, points = (reduce_minmax, _DEFAULT_POINTS) if reduce == "minmax" else (head, MOST_POINTS)
    curves = {name: reduce_curve(curve, max_points or points) for name, curve in whole.items()}
    if media == "image/png":
        return Response(plots.curves_png(job.name or job.id, curves), media_type=media, headers=VARY)
    if media == "text/csv":
        return Response(_csv(curves), media_type="text/csv; charset=utf-8", headers=VARY)
    return Response(_view(whole, curves, reduce).model_dump_json(), media_type=media, headers=VARY)


def _first_step(from_step: int | None, to_step: int | None, after_step: int | None) -> int | None:
    bounds = [b for b in (from_step, None if after_step is None else after_step + 1) if b is not None]
    first = max(bounds, default=None)
    if first is not None and to_step is not None and first > to_step:
        detail = f"to_step is {to_step}, which is before the first requested step, {first}."
        raise BadParametersError([SpecProblem(pointer="/to_step", code="out-of-range", detail=detail)])
    return first


def _all_names(known: list[str], media: str) -> list[str]:
    """Return all curves; for a plot, only the losses, because the other curves have other scales."""
    losses = [name for name in known if name.startswith("loss_")]
    return losses if media == "image/png" and losses else known


def _view(
    whole: Mapping[str, ReducedCurve], curves: Mapping[str, ReducedCurve], reduce: Literal["minmax", "none"]
) -> SeriesView:
    return SeriesView(
        series={name: list(zip(*_columns(curve), strict=True)) for name, curve in curves.items()},
        reduced=any(len(curves[name]) < len(whole[name]) for name in whole),
        source_points=sum(map(len, whole.values())),
        reduce=reduce,
        nonfinite_count=sum(int((~np.isfinite(curve.values)).sum()) for curve in whole.values()),
    )


def _columns(curve: ReducedCurve) -> tuple[list[int], list[float]]:
    """Return steps and values, each float32 as its shortest decimal (0.1, not 0.10000000149)."""
    return curve.steps.tolist(), curve.values.astype(str).astype(np.float64).tolist()


def _csv(curves: Mapping[str, ReducedCurve]) -> str:
    """Return CSV with one line per step and one column per curve: empty without a point, nan or inf if not finite."""
    columns = {name: dict(zip(*_columns(curve), strict=True)) for name, curve in curves.items()}
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["step", *columns])
    for step in sorted({step for column in columns.values() for step in column}):
        lines.writerow([step, *(column.get(step, "") for column in columns.values())])
    return text.getvalue()
