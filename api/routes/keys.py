"""Keys to this service, and the tenants that they belong to: for administrators."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

from api import views
from api.context import Admin
from api.http.bodies import JsonObject, NoBody, PerhapsObject, read_as
from api.http.errors import BadParametersError
from api.http.parameters import PageOf
from api.openapi import body_of
from api.schemas import (
    KeyView,
    Listed,
    NewKey,
    NewKeyView,
    Quotas,
    Rotation,
    TenantView,
)
from jobs.models import DEFAULT_TENANT
from jobs.store.callers import api_keys, tenants

router = APIRouter(prefix="/v1", tags=["keys"])

_DAY: Final = 86_400


@router.post("/keys", status_code=201, response_model=NewKeyView, openapi_extra=body_of(NewKey))
def create_key(context: Admin, body: JsonObject, response: Response) -> NewKeyView:
    """A new key. `key` is shown in this answer alone; nobody can read it afterwards."""
    wish = read_as(NewKey, body, BadParametersError)
    seconds = None if wish.expires_in_days is None else wish.expires_in_days * _DAY
    with context.write() as s:
        made = api_keys.create(s, wish.tenant or DEFAULT_TENANT, wish.name, wish.scopes, expires_in_seconds=seconds)
    response.headers["Location"] = f"/v1/keys/{made.row.id}"
    return views.new_key(made)


@router.get("/keys")
def list_keys(context: Admin, page: PageOf) -> Listed[KeyView]:
    """Newest first, those that open nothing any more too."""
    with context.read() as s:
        return views.listed(api_keys.page(s, limit=page.limit, cursor=page.cursor), views.key)


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    response_model=NewKeyView,
    openapi_extra=body_of(Rotation, required=False),
)
def rotate_key(context: Admin, key_id: str, body: PerhapsObject, response: Response) -> NewKeyView:
    """A new key that can what the old one can, which goes on for a while: time to carry the new one everywhere."""
    overlap = read_as(Rotation, body, BadParametersError).overlap_seconds
    with context.write() as s:
        made = api_keys.rotate(s, key_id, overlap)
    response.headers["Location"] = f"/v1/keys/{made.row.id}"
    return views.new_key(made)


@router.delete("/keys/{key_id}", dependencies=[NoBody])
def revoke_key(context: Admin, key_id: str) -> KeyView:
    """It opens nothing any more, within seconds and for good. Asked again: the same."""
    with context.write() as s:
        return views.key(api_keys.revoke(s, key_id))


@router.get("/tenants")
def list_tenants(context: Admin, page: PageOf) -> Listed[TenantView]:
    """What each may take, and what each has taken."""
    with context.read() as s:
        rows = tenants.page(s, limit=page.limit, cursor=page.cursor)
        return views.listed(rows, lambda row: views.tenant(row, tenants.usage(s, row)))


@router.patch("/tenants/{tenant}", openapi_extra=body_of(Quotas))
def limit_tenant(context: Admin, tenant: str, body: JsonObject) -> TenantView:
    """Set some of its quotas; null: no limit. What runs or waits already stays."""
    quotas = read_as(Quotas, body, BadParametersError)
    with context.write() as s:
        tenants.get(s, tenant)
        row = tenants.set_quotas(s, tenant, quotas.model_dump(exclude_unset=True))
        return views.tenant(row, tenants.usage(s, row))
