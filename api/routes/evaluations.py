"""Evaluations: the quality of the generated images, step by step."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from api.context import JobsRead
from api.http.parameters import Fields, PageOf, fields_of
from api.schemas.base import Listed
from api.schemas.progress import EvaluationView
from api.views.base import list_view
from api.views.progress import evaluation_view
from jobs.store import evaluations, jobs

router = APIRouter(prefix="/v1/jobs/{job_id}/evaluations", tags=["progress"])


@router.get("", response_model=Listed[EvaluationView])
def list_evaluations(
    context: JobsRead, job_id: str, page: PageOf, fields: Annotated[Fields, fields_of(EvaluationView)]
) -> Response:
    """List all evaluations, newest first. The metrics are also curves: /metrics/series?names=fcd,coverage."""
    with context.read() as s:
        jobs.get(s, job_id)
        rows = evaluations.page(s, job_id, limit=page.limit, cursor=page.cursor)
        best = evaluations.best(s, job_id)
    return list_view(rows, lambda row: evaluation_view(row, best), fields)
