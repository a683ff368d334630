"""The audit log, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.context import Admin
from api.http.parameters import Fields, PageOf, fields_of
from api.schemas.audit import ActView
from api.schemas.base import Listed
from api.views.audit import act_view
from api.views.base import list_view
from jobs.store.callers import acts

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("", response_model=Listed[ActView])
def list_audit_entries(
    context: Admin,
    page: PageOf,
    fields: Annotated[Fields, fields_of(ActView)],
    subject: Annotated[str | None, Query(max_length=80, description="Only actions on this id.")] = None,
    actor: Annotated[
        str | None, Query(max_length=40, description="Only actions with the key of this id; or local.")
    ] = None,
    tenant: Annotated[
        str | None, Query(max_length=40, description="Only actions on resources of this tenant.")
    ] = None,
) -> Response:
    """List the actions of all callers, newest first. Entries are kept for ever, also those of deleted resources."""
    filters = {"subject": subject, "actor": actor, "tenant": tenant}
    with context.read() as s:
        return list_view(acts.page(s, limit=page.limit, cursor=page.cursor, **filters), act_view, fields)
