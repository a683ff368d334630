"""Addresses that are told what happens to your jobs: register, list, change, delete; what each was told."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api import views
from api.context import JobsRead, JobsWrite, TenantContext
from api.http.bodies import JsonObject, NoBody, read_as
from api.http.parameters import PageOf
from api.idempotency import Idempotent, IdempotentRequest, StoredResponse
from api.openapi import body_of, problems
from api.schemas import DeliveryView, Listed, WebhookBody, WebhookChange, WebhookMade, WebhookView
from api.views import listed
from jobs.errors import NameLookupBusyError, WebhooksOffError
from jobs.relay.webhooks.addresses import AddressChecker
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.store.callers import deliveries, webhooks

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

# A name whose servers never answer holds a thread for as long as the resolver waits.
_lookups: Final = ConcurrencyLimiter(
    8, NameLookupBusyError, "As many hosts as may be looked up at a time are; try again in a moment."
)


@router.post(
    "", status_code=201, response_model=WebhookMade, openapi_extra=body_of(WebhookBody), responses=problems(409)
)
async def add_webhook(context: JobsWrite, body: JsonObject, once: Idempotent) -> Response:
    """Register an address that is told of events of these types, each in a signed POST; its secret is shown once.

    See docs/webhooks.md for what is sent, how to verify it, and what is promised.
    """
    _require_on(context)
    asked = read_as(WebhookBody, body)
    answer = await run_in_threadpool(_add, context, once, asked)
    return answer.response()


@router.get("")
def list_webhooks(context: JobsRead, page: PageOf) -> Listed[WebhookView]:
    """In order of registration."""
    with context.read() as s:
        rows = webhooks.page(s, limit=page.limit, cursor=page.cursor)
    return listed(rows, views.webhook)


@router.get("/{webhook_id}")
def get_webhook(context: JobsRead, webhook_id: str) -> WebhookView:
    """One webhook, without its secret."""
    with context.read() as s:
        return views.webhook(webhooks.get(s, webhook_id))


@router.patch("/{webhook_id}", response_model=WebhookView, openapi_extra=body_of(WebhookChange))
def change_webhook(context: JobsWrite, webhook_id: str, body: JsonObject) -> WebhookView:
    """Enable it, disable it, or have it told of other events."""
    asked = read_as(WebhookChange, body)
    changes = {name: getattr(asked, name) for name in asked.model_fields_set}
    if changes.get("enabled"):
        _require_on(context)
    with context.write() as s:
        return views.webhook(webhooks.change(s, webhook_id, **changes))


@router.delete("/{webhook_id}", status_code=204, dependencies=[NoBody])
def delete_webhook(context: JobsWrite, webhook_id: str) -> None:
    """Forget it, with all that it was told and was yet to be told."""
    with context.write() as s:
        webhooks.delete(s, webhook_id)


@router.post("/{webhook_id}/test", status_code=201, response_model=DeliveryView, dependencies=[NoBody])
def test_webhook(context: JobsWrite, webhook_id: str, once: Idempotent) -> Response:
    """Send it a `webhook.test`, within a second or so; its delivery tells what came of it."""
    _require_on(context)
    with context.write() as s:
        answer = once.carry_out(s, {}, lambda: _created(views.delivery(deliveries.enqueue_test(s, webhook_id))))
    return answer.response()


@router.get("/{webhook_id}/deliveries")
def list_deliveries(context: JobsRead, webhook_id: str, page: PageOf) -> Listed[DeliveryView]:
    """What it was told in the last 30 days and is to be told, newest first, with every attempt."""
    with context.read() as s:
        rows = deliveries.page(s, webhook_id, limit=page.limit, cursor=page.cursor)
    return listed(rows, views.delivery)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
def get_delivery(context: JobsRead, webhook_id: str, delivery_id: str) -> DeliveryView:
    """One delivery."""
    with context.read() as s:
        return views.delivery(deliveries.get(s, webhook_id, delivery_id))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryView,
    dependencies=[NoBody],
)
def redeliver(context: JobsWrite, webhook_id: str, delivery_id: str, response: Response) -> DeliveryView:
    """Send it again, now, under its old id, and as often as a new one where it fails."""
    _require_on(context)
    with context.write() as s:
        view = views.delivery(deliveries.redeliver(s, webhook_id, delivery_id))
    response.headers["Location"] = _address(view)
    return view


def _require_on(context: TenantContext) -> None:
    """Raises `WebhooksOffError`."""
    if not context.settings.webhooks:
        raise WebhooksOffError


def _add(context: TenantContext, once: IdempotentRequest, asked: WebhookBody) -> StoredResponse:
    # Judged before a transaction is open: to ask for a name's addresses takes as long as it takes.
    with _lookups.slot():
        AddressChecker(allow_private=context.settings.webhook_allow_private).check(asked.url)

    def created() -> StoredResponse:
        row = webhooks.create(s, asked.url, asked.events)
        content = views.webhook_made(row).model_dump_json().encode()
        return StoredResponse(201, content, {"Location": f"/v1/webhooks/{row.id}"})

    with context.write() as s:
        return once.carry_out(s, asked.model_dump(), created)


def _created(view: DeliveryView) -> StoredResponse:
    return StoredResponse(201, view.model_dump_json().encode(), {"Location": _address(view)})


def _address(view: DeliveryView) -> str:
    return f"/v1/webhooks/{view.webhook_id}/deliveries/{view.id}"
