"""Response bodies of the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ActView(BaseModel):
    """One entry of the audit log: an action, who did it, to what, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: str = Field(description="The tenant that the subject belongs to.")
    actor: str = Field(description="The id of the key of the request; local where the service requires no key.")
    action: str = Field(description="The action, such as job.cancel.")
    subject: str = Field(description="The id of what was changed, such as a job; it may be deleted.")
    detail: dict[str, Any] | None
    request_id: str | None = Field(
        description="The X-Request-Id of the request, which the service's log contains too."
    )
    at: datetime
