"""Keys and tenants as response bodies."""

from __future__ import annotations

from typing import Any

from api.schemas.keys import KeyView, NewKeyView, Quotas, TenantUsage, TenantView
from api.views.base import moment
from jobs.models import ApiKey, Tenant
from jobs.store.callers import tenants
from jobs.store.callers.api_keys import NewApiKey


def key_view(row: ApiKey) -> KeyView:
    """Return a key, without its secret."""
    return KeyView(**_fields(row))


def new_key_view(new: NewApiKey) -> NewKeyView:
    """Return a new key, with its secret."""
    return NewKeyView(key=new.key, **_fields(new.row))


def tenant_view(row: Tenant, usage: tenants.Usage) -> TenantView:
    """Return a tenant, with its quotas and its usage."""
    return TenantView(
        id=row.id,
        quotas=Quotas(**{name: getattr(row, name) for name in tenants.QUOTAS}),
        usage=TenantUsage(**vars(usage)),
        created_at=moment(row.created_at),
    )


def _fields(row: ApiKey) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    others = ("id", "tenant", "name", "handle", "scopes")
    return {name: getattr(row, name) for name in others} | {name: moment(getattr(row, name)) for name in times}
