"""Who did what: for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.context import Admin
from api.http.parameters import PageOf
from api.schemas import ActView, Listed
from api.views import act, listed
from jobs.store.callers import acts

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("")
def list_acts(
    context: Admin,
    page: PageOf,
    subject: Annotated[str | None, Query(max_length=80, description="Done to this id.")] = None,
    actor: Annotated[str | None, Query(max_length=40, description="Asked with the key of this id; or local.")] = None,
    tenant: Annotated[str | None, Query(max_length=40, description="Done to something of this tenant's.")] = None,
) -> Listed[ActView]:
    """What callers had done, newest first: kept for good, also of what is deleted since."""
    filters = {"subject": subject, "actor": actor, "tenant": tenant}
    with context.read() as s:
        return listed(acts.page(s, limit=page.limit, cursor=page.cursor, **filters), act)
