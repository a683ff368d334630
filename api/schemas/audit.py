"""An act, as `GET /v1/audit` shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


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
