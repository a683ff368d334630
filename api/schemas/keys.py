"""Bodies of requests and responses about keys and tenants."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from api.schemas.base import ResponseModel
from gan.spec import INTEGRAL, UNSEEN
from jobs.keys import Scope

_VISIBLE: Final = rf"^[^{UNSEEN}]+$"
"""A name has no invisible characters, so that two names that look the same are the same."""


class KeyRequest(ResponseModel):
    """The base of the request bodies; it is strict: "3" and true are not numbers."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class NewKey(KeyRequest):
    """The body of POST /v1/keys."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=_VISIBLE,
        description="A name for people: the owner or the use of the key.",
    )
    tenant: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="The tenant of the key; a new one is created. Default: the tenant `default`.",
    )
    scopes: list[Scope] = Field(
        min_length=1, max_length=4, description="The scopes of the key; admin includes all others."
    )
    expires_in_days: float | None = Field(
        None, gt=0, le=3650, description="The days until the key expires. Default: it is valid until it is revoked."
    )


class Rotation(KeyRequest):
    """The time in which the old key is still valid beside the new one."""

    overlap_seconds: float = Field(86_400, ge=0, le=30 * 86_400)


class KeyView(ResponseModel):
    """A key. Its secret cannot be read; the handle is a part of it."""

    id: str
    tenant: str
    name: str
    handle: str = Field(description="The first eight characters of the key after gan_live_.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="The last use, accurate to a minute.")


class NewKeyView(KeyView):
    """A new key, with its secret."""

    key: str = Field(description="The key itself. Only this response shows it: store it safely.")


class Quotas(KeyRequest):
    """The limits of a tenant; null means no limit."""

    max_queued: Annotated[int, Field(ge=0, le=1_000_000), INTEGRAL] | None = Field(
        None, description="Queued and paused jobs."
    )
    max_running: Annotated[int, Field(ge=0, le=1_000_000), INTEGRAL] | None = Field(
        None, description="Jobs that run at the same time."
    )
    device_hours: float | None = Field(
        None, ge=0, le=1e9, description="Hours of a device that all jobs together may use."
    )
    storage_mb: Annotated[int, Field(ge=0, le=10**9), INTEGRAL] | None = Field(
        None, description="MB of checkpoints, previews and data sets."
    )


class TenantUsage(ResponseModel):
    """The current usage of a tenant."""

    queued: int
    running: int
    device_hours: float = Field(description="Hours of all attempts that have ended.")
    storage_mb: float


class TenantView(ResponseModel):
    """A tenant, with its quotas and its usage."""

    id: str
    quotas: Quotas
    usage: TenantUsage
    created_at: datetime
