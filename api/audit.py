"""An act, as `GET /v1/audit` shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.views import moment
from jobs.audit import Act


class ActView(BaseModel):
    """Who did what, to what, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: str = Field(description="Whose the subject is.")
    actor: str = Field(description="The id of the key that it was asked with; local: nobody was asked for one.")
    action: str = Field(description="Such as job.cancel.")
    subject: str = Field(description="The id of what it was done to, which may be gone.")
    detail: dict[str, Any] | None
    request_id: str | None = Field(description="X-Request-Id of the request, as it stands in the log.")
    at: datetime


def view(row: Act) -> ActView:
    return ActView(
        tenant=row.tenant,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
        request_id=row.request_id,
        at=moment(row.at),
    )
