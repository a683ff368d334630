"""How good the images were, step by step, and what the figures rest on."""

from __future__ import annotations

from fastapi import APIRouter

from api import views
from api.context import JobsRead
from api.http.parameters import PageOf
from api.schemas import EvaluationView, Listed
from jobs.store import evaluations, jobs

router = APIRouter(prefix="/v1/jobs/{job_id}/evaluations", tags=["progress"])


@router.get("")
def list_evaluations(context: JobsRead, job_id: str, page: PageOf) -> Listed[EvaluationView]:
    """Every evaluation, newest first. The figures are curves too: /metrics/series?names=fcd,coverage."""
    with context.read() as s:
        jobs.get(s, job_id)
        rows = evaluations.page(s, job_id, limit=page.limit, cursor=page.cursor)
        best = evaluations.best(s, job_id)
    return views.listed(rows, lambda row: views.evaluation(row, best))
