"""Entries of the audit log as response bodies."""

from __future__ import annotations

from api.schemas.audit import ActView
from api.views.base import moment
from jobs.models import Act


def act_view(row: Act) -> ActView:
    """Return an entry of the audit log."""
    return ActView(
        tenant=row.tenant,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
        request_id=row.request_id,
        at=moment(row.at),
    )
