"""Audit entries as response bodies."""

from __future__ import annotations

from api.schemas import ActView
from api.views.jobs import moment
from jobs.models import Act


def act(row: Act) -> ActView:
    return ActView(
        tenant=row.tenant,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
        request_id=row.request_id,
        at=moment(row.at),
    )
