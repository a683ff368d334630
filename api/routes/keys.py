"""Keys to this service, and the tenants that they belong to: for administrators."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

from api import views
from api.bodies import JsonObject, NoBody, PerhapsObject, read_as
from api.hall import Office
from api.key_schemas import KeyView, NewKey, NewKeyView, Quotas, Rotation, TenantView
from api.openapi import body_of
from api.parameters import PageOf
from api.problems import BadParameters
from api.schemas import Listed
from jobs.models import DEFAULT_TENANT
from jobs.store import api_keys, tenants

router = APIRouter(prefix="/v1", tags=["keys"])

_DAY: Final = 86_400


@router.post("/keys", status_code=201, response_model=NewKeyView, openapi_extra=body_of(NewKey))
def create_key(office: Office, body: JsonObject, response: Response) -> NewKeyView:
    """A new key. `key` is shown in this answer alone; nobody can read it afterwards."""
    wish = read_as(NewKey, body, BadParameters)
    seconds = None if wish.expires_in_days is None else wish.expires_in_days * _DAY
    with office.write() as s:
        made = api_keys.create(s, wish.tenant or DEFAULT_TENANT, wish.name, wish.scopes, expires_in_seconds=seconds)
    response.headers["Location"] = f"/v1/keys/{made.row.id}"
    return views.new_key(made)


@router.get("/keys")
def list_keys(office: Office, page: PageOf) -> Listed[KeyView]:
    """Newest first, those that open nothing any more too."""
    with office.read() as s:
        return views.listed(api_keys.page(s, limit=page.limit, cursor=page.cursor), views.key)


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    response_model=NewKeyView,
    openapi_extra=body_of(Rotation, required=False),
)
def rotate_key(office: Office, key_id: str, body: PerhapsObject, response: Response) -> NewKeyView:
    """A new key that can what the old one can, which goes on for a while: time to carry the new one everywhere."""
    overlap = read_as(Rotation, body, BadParameters).overlap_seconds
    with office.write() as s:
        made = api_keys.rotate(s, key_id, overlap)
    response.headers["Location"] = f"/v1/keys/{made.row.id}"
    return views.new_key(made)


@router.delete("/keys/{key_id}", dependencies=[NoBody])
def revoke_key(office: Office, key_id: str) -> KeyView:
    """It opens nothing any more, within seconds and for good. Asked again: the same."""
    with office.write() as s:
        return views.key(api_keys.revoke(s, key_id))


@router.get("/tenants")
def list_tenants(office: Office, page: PageOf) -> Listed[TenantView]:
    """What each may take, and what each has taken."""
    with office.read() as s:
        rows = tenants.page(s, limit=page.limit, cursor=page.cursor)
        return views.listed(rows, lambda row: views.tenant(row, tenants.usage(s, row)))


@router.patch("/tenants/{tenant}", openapi_extra=body_of(Quotas))
def limit_tenant(office: Office, tenant: str, body: JsonObject) -> TenantView:
    """Set some of its quotas; null: no limit. What runs or waits already stays."""
    quotas = read_as(Quotas, body, BadParameters)
    with office.write() as s:
        tenants.get(s, tenant)
        row = tenants.limit(s, tenant, quotas.model_dump(exclude_unset=True))
        return views.tenant(row, tenants.usage(s, row))
