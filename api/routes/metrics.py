"""The curves: in a line each, whole, and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import numpy as np
from fastapi import APIRouter, Header, Query, Response

from api import views
from api.context import JobsRead
from api.http.errors import BadParametersError
from api.http.headers import VARY, negotiate
from api.http.parameters import split
from api.samples import plots
from api.schemas import MetricView, SeriesView
from gan.spec import SpecProblem
from jobs.curves import ReducedCurve, head, reduce_minmax
from jobs.store import jobs, metrics

MOST_POINTS: Final = 10_000
_USUAL_POINTS: Final = 1_000

router = APIRouter(prefix="/v1/jobs/{job_id}/metrics", tags=["progress"])

_OFFERED: Final = ("application/json", "text/csv", "image/png")
_LAST_STEP: Final = 2**53
_Step = Annotated[int | None, Query(ge=0, le=_LAST_STEP)]


@router.get("")
def list_metrics(context: JobsRead, job_id: str) -> list[MetricView]:
    """Every curve in a line."""
    with context.read() as s:
        jobs.get(s, job_id)
        return [views.metric(row) for row in metrics.summaries(s, job_id)]


@router.get("/series", response_model=SeriesView, responses={200: {"content": {"text/csv": {}, "image/png": {}}}})
def get_series(
    context: JobsRead,
    job_id: str,
    names: Annotated[
        str | None,
        Query(
            description="Separated by commas; none: all of them, in a picture the losses.",
            json_schema_extra={"pattern": r"^[a-z0-9_.]+(,[a-z0-9_.]+)*$"},
        ),
    ] = None,
    from_step: _Step = None,
    to_step: _Step = None,
    after_step: Annotated[int | None, Query(ge=0, le=_LAST_STEP, description="Only steps past this one.")] = None,
    max_points: Annotated[
        int | None,
        Query(
            ge=4,
            le=MOST_POINTS,
            description="Of each curve: 1000 when reduced. Unreduced, its first 10000: go on with after_step.",
        ),
    ] = None,
    reduce: Annotated[
        Literal["minmax", "none"], Query(description="minmax keeps each bucket's first, min, max and last point.")
    ] = "minmax",
    accept: Annotated[str | None, Header(description="application/json, text/csv or image/png.")] = None,
) -> Response:
    """The curves themselves, thinned so that no spike is lost."""
    media = negotiate(accept, _OFFERED)
    first = _first_step(from_step, to_step, after_step)
    with context.read() as s:
        job = jobs.get(s, job_id)
        wanted = split(names, "names") or _all_names(metrics.names_of(s, job_id), media)
        whole = metrics.series(s, job_id, wanted, first, to_step)
    thin, usual = (reduce_minmax, _USUAL_POINTS) if reduce == "minmax" else (head, MOST_POINTS)
    curves = {name: thin(curve, max_points or usual) for name, curve in whole.items()}
    if media == "image/png":
        return Response(plots.curves_png(job.name or job.id, curves), media_type=media, headers=VARY)
    if media == "text/csv":
        return Response(_csv(curves), media_type="text/csv; charset=utf-8", headers=VARY)
    return Response(_view(whole, curves, reduce).model_dump_json(), media_type=media, headers=VARY)


def _first_step(from_step: int | None, to_step: int | None, after_step: int | None) -> int | None:
    bounds = [b for b in (from_step, None if after_step is None else after_step + 1) if b is not None]
    first = max(bounds, default=None)
    if first is not None and to_step is not None and first > to_step:
        detail = f"to_step is {to_step}, before the first step asked for, {first}; raise it."
        raise BadParametersError([SpecProblem(pointer="/to_step", code="out-of-range", detail=detail)])
    return first


def _all_names(known: list[str], media: str) -> list[str]:
    """Every curve; in a picture the losses alone, as the others have other scales."""
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
    """Steps and values; a float32 as the shortest decimal that means it (0.1, not 0.10000000149)."""
    return curve.steps.tolist(), curve.values.astype(str).astype(np.float64).tolist()


def _csv(curves: Mapping[str, ReducedCurve]) -> str:
    """A line a step, a column a curve; empty where a curve has no point, nan and inf where it is not finite."""
    columns = {name: dict(zip(*_columns(curve), strict=True)) for name, curve in curves.items()}
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["step", *columns])
    for step in sorted({step for column in columns.values() for step in column}):
        lines.writerow([step, *(column.get(step, "") for column in columns.values())])
    return text.getvalue()
