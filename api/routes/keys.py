"""API keys and tenants, for administrators."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from api.context import Admin
from api.http.bodies import JsonObject, NoBody, OptionalJsonObject, read_as
from api.http.errors import BadParametersError
from api.http.parameters import Fields, PageOf, fields_of
from api.openapi import body_of
from api.schemas.base import Listed
from api.schemas.keys import KeyView, NewKey, NewKeyView, Quotas, Rotation, TenantView
from api.views.base import list_view
from api.views.keys import key_view, new_key_view, tenant_view
from jobs.models import DEFAULT_TENANT
from jobs.store.callers import api_keys, tenants

router = APIRouter(prefix="/v1", tags=["keys"])

_SECONDS_PER_DAY: Final = 86_400


@router.post("/keys", status_code=201, response_model=NewKeyView, openapi_extra=body_of(NewKey))
def create_key(context: Admin, body: JsonObject, response: Response) -> NewKeyView:
    """Create a key. Only this response shows `key`; it cannot be read later."""
    new = read_as(NewKey, body, BadParametersError)
    seconds = None if new.expires_in_days is None else new.expires_in_days * _SECONDS_PER_DAY
    with context.write() as s:
        created = api_keys.create(s, new.tenant or DEFAULT_TENANT, new.name, new.scopes, expires_in_seconds=seconds)
    response.headers["Location"] = f"/v1/keys/{created.row.id}"
    return new_key_view(created)


@router.get("/keys", response_model=Listed[KeyView])
def list_keys(context: Admin, page: PageOf, fields: Annotated[Fields, fields_of(KeyView)]) -> Response:
    """List all keys, newest first, also those that are revoked or expired."""
    with context.read() as s:
        return list_view(api_keys.page(s, limit=page.limit, cursor=page.cursor), key_view, fields)


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    response_model=NewKeyView,
    openapi_extra=body_of(Rotation, required=False),
)
def rotate_key(context: Admin, key_id: str, body: OptionalJsonObject, response: Response) -> NewKeyView:
    """Create a new key with the same rights. The old key stays valid for a while, so that you can replace it."""
    overlap = read_as(Rotation, body, BadParametersError).overlap_seconds
    with context.write() as s:
        created = api_keys.rotate(s, key_id, overlap)
    response.headers["Location"] = f"/v1/keys/{created.row.id}"
    return new_key_view(created)


@router.delete("/keys/{key_id}", dependencies=[NoBody])
def revoke_key(context: Admin, key_id: str) -> KeyView:
    """Revoke a key for good, with effect within seconds. A repeated request changes nothing."""
    with context.write() as s:
        return key_view(api_keys.revoke(s, key_id))


@router.get("/tenants", response_model=Listed[TenantView])
def list_tenants(context: Admin, page: PageOf, fields: Annotated[Fields, fields_of(TenantView)]) -> Response:
    """List all tenants, with their quotas and their usage."""
    with context.read() as s:
        rows = tenants.page(s, limit=page.limit, cursor=page.cursor)
        return list_view(rows, lambda row: tenant_view(row, tenants.usage(s, row)), fields)


@router.patch("/tenants/{tenant}", openapi_extra=body_of(Quotas))
def limit_tenant(context: Admin, tenant: str, body: JsonObject) -> TenantView:
    """Set some quotas of a tenant; null means no limit. Running and queued jobs are not affected."""
    quotas = read_as(Quotas, body, BadParametersError)
    with context.write() as s:
        tenants.get(s, tenant)
        row = tenants.set_quotas(s, tenant, quotas.model_dump(exclude_unset=True))
        return tenant_view(row, tenants.usage(s, row))
