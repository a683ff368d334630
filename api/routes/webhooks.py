"""Webhooks: register, list, change, delete; and their deliveries."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api.context import JobsRead, JobsWrite, TenantContext
from api.http.bodies import JsonObject, NoBody, read_as
from api.http.parameters import Fields, PageOf, fields_of
from api.idempotency import Idempotent, IdempotentRequest, StoredResponse
from api.openapi import body_of, problems
from api.schemas.base import Listed
from api.schemas.webhooks import DeliveryView, WebhookBody, WebhookChange, WebhookMade, WebhookView
from api.views.base import list_view
from api.views.webhooks import delivery_view, new_webhook_view, webhook_view
from jobs.errors import NameLookupBusyError, WebhooksOffError
from jobs.relay.webhooks.addresses import AddressChecker
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.store.callers import deliveries, webhooks

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

# A host name whose name servers never respond holds a thread until the resolver gives up.
_lookups: Final = ConcurrencyLimiter(
    8, NameLookupBusyError, "The service is already looking up as many host names as it can; try again in a moment."
)


@router.post(
    "", status_code=201, response_model=WebhookMade, openapi_extra=body_of(WebhookBody), responses=problems(409)
)
async def add_webhook(context: JobsWrite, body: JsonObject, idempotent: Idempotent) -> Response:
    """Register an address for events of these types, each sent as a signed POST. Only this response shows the secret.

    See docs/webhooks.md for the requests, how to verify their signatures, and the guarantees.
    """
    _require_enabled(context)
    new = read_as(WebhookBody, body)
    stored = await run_in_threadpool(_add, context, idempotent, new)
    return stored.response()


@router.get("", response_model=Listed[WebhookView])
def list_webhooks(context: JobsRead, page: PageOf, fields: Annotated[Fields, fields_of(WebhookView)]) -> Response:
    """List the webhooks in order of registration."""
    with context.read() as s:
        rows = webhooks.page(s, limit=page.limit, cursor=page.cursor)
    return list_view(rows, webhook_view, fields)


@router.get("/{webhook_id}")
def get_webhook(context: JobsRead, webhook_id: str) -> WebhookView:
    """Return one webhook, without its secret."""
    with context.read() as s:
        return webhook_view(webhooks.get(s, webhook_id))


@router.patch("/{webhook_id}", response_model=WebhookView, openapi_extra=body_of(WebhookChange))
def change_webhook(context: JobsWrite, webhook_id: str, body: JsonObject) -> WebhookView:
    """Enable or disable a webhook, or change its types of events."""
    change = read_as(WebhookChange, body)
    changes = {name: getattr(change, name) for name in change.model_fields_set}
    if changes.get("enabled"):
        _require_enabled(context)
    with context.write() as s:
        return webhook_view(webhooks.change(s, webhook_id, **changes))


@router.delete("/{webhook_id}", status_code=204, dependencies=[NoBody])
def delete_webhook(context: JobsWrite, webhook_id: str) -> None:
    """Delete a webhook with all its deliveries, also the pending ones."""
    with context.write() as s:
        webhooks.delete(s, webhook_id)


@router.post("/{webhook_id}/test", status_code=201, response_model=DeliveryView, dependencies=[NoBody])
def test_webhook(context: JobsWrite, webhook_id: str, idempotent: Idempotent) -> Response:
    """Send a `webhook.test` event within about a second. Its delivery shows the result."""
    _require_enabled(context)
    with context.write() as s:
        stored = idempotent.carry_out(s, {}, lambda: _created(delivery_view(deliveries.enqueue_test(s, webhook_id))))
    return stored.response()


@router.get("/{webhook_id}/deliveries", response_model=Listed[DeliveryView])
def list_deliveries(
    context: JobsRead, webhook_id: str, page: PageOf, fields: Annotated[Fields, fields_of(DeliveryView)]
) -> Response:
    """List the pending deliveries and those of the last 30 days, newest first, with all attempts."""
    with context.read() as s:
        rows = deliveries.page(s, webhook_id, limit=page.limit, cursor=page.cursor)
    return list_view(rows, delivery_view, fields)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
def get_delivery(context: JobsRead, webhook_id: str, delivery_id: str) -> DeliveryView:
    """Return one delivery."""
    with context.read() as s:
        return delivery_view(deliveries.get(s, webhook_id, delivery_id))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryView,
    dependencies=[NoBody],
)
def redeliver_delivery(context: JobsWrite, webhook_id: str, delivery_id: str, response: Response) -> DeliveryView:
    """Send a delivery again now, with the same id, and retry it as often as a new one."""
    _require_enabled(context)
    with context.write() as s:
        view = delivery_view(deliveries.redeliver(s, webhook_id, delivery_id))
    response.headers["Location"] = _address(view)
    return view


def _require_enabled(context: TenantContext) -> None:
    """Raise `WebhooksOffError` if the settings disable webhooks."""
    if not context.settings.webhooks:
        raise WebhooksOffError


def _add(context: TenantContext, idempotent: IdempotentRequest, new: WebhookBody) -> StoredResponse:
    # Before the transaction: a lookup of a host name may take long.
    with _lookups.slot():
        AddressChecker(allow_private=context.settings.webhook_allow_private).check(new.url)

    def create() -> StoredResponse:
        row = webhooks.create(s, new.url, new.events)
        content = new_webhook_view(row).model_dump_json().encode()
        return StoredResponse(201, content, {"Location": f"/v1/webhooks/{row.id}"})

    with context.write() as s:
        return idempotent.carry_out(s, new.model_dump(), create)


def _created(view: DeliveryView) -> StoredResponse:
    return StoredResponse(201, view.model_dump_json().encode(), {"Location": _address(view)})


def _address(view: DeliveryView) -> str:
    return f"/v1/webhooks/{view.webhook_id}/deliveries/{view.id}"
