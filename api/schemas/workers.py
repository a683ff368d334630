"""Response bodies about workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from api.schemas.base import ResponseModel


class WorkerView(ResponseModel):
    """A worker that has registered itself."""

    id: str
    host: str
    devices: list[dict[str, Any]]
    status: Literal["idle", "busy", "draining", "lost"]
    current_job_id: str | None
    heartbeat_at: datetime
