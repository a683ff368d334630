"""Keys and tenants, as they are asked for and answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from api.schemas.base import ResponseModel
from gan.spec import INTEGRAL, UNSEEN
from jobs.keys import Scope

_PLAIN: Final = rf"^[^{UNSEEN}]+$"
"""Of a name: it is what it looks like."""


class KeyRequest(ResponseModel):
    """What is read of a body: "3" and true are no numbers."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class NewKey(KeyRequest):
    """What a new key is to be."""

    name: str = Field(min_length=1, max_length=100, pattern=_PLAIN, description="For people: who or what holds it.")
    tenant: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="Whose; left out: default. Made if it is new.",
    )
    scopes: list[Scope] = Field(min_length=1, max_length=4, description="What it opens; admin opens all.")
    expires_in_days: float | None = Field(None, gt=0, le=3650, description="Left out: until it is revoked.")


class Rotation(KeyRequest):
    """How long the old key goes on beside the new one."""

    overlap_seconds: float = Field(86_400, ge=0, le=30 * 86_400)


class KeyView(ResponseModel):
    """A key, of which nobody can read more than the handle."""

    id: str
    tenant: str
    name: str
    handle: str = Field(description="Its first eight characters past gan_live_.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class NewKeyView(KeyView):
    """A key that was made just now."""

    key: str = Field(description="Shown here alone: keep it.")


class Quotas(KeyRequest):
    """What a tenant may take; null: no limit."""

    max_queued: Annotated[int, Field(ge=0, le=1_000_000), INTEGRAL] | None = Field(
        None, description="Jobs that wait or are paused."
    )
    max_running: Annotated[int, Field(ge=0, le=1_000_000), INTEGRAL] | None = Field(
        None, description="Jobs that run at a time."
    )
    device_hours: float | None = Field(None, ge=0, le=1e9, description="That its jobs may run altogether.")
    storage_mb: Annotated[int, Field(ge=0, le=10**9), INTEGRAL] | None = Field(
        None, description="Of checkpoints, previews and data sets, MB."
    )


class TenantUsage(ResponseModel):
    """What a tenant has taken."""

    queued: int
    running: int
    device_hours: float = Field(description="Of attempts that are over.")
    storage_mb: float


class TenantView(ResponseModel):
    """A tenant: its quotas, and what it has taken."""

    id: str
    quotas: Quotas
    usage: TenantUsage
    created_at: datetime
