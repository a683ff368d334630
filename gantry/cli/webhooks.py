"""`gantry webhooks`: addresses that receive the events of your jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from gantry.cli.output import AsJson, Limit, Url, print_deleted, print_page, print_result
from gantry.client import DEFAULT_URL, Client, Json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Addresses that receive events: add, list, change, delete, test.",
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="A webhook's id.")]
Events = Annotated[
    list[str] | None, typer.Option("--event", metavar="TYPE", help="Type of event, such as job.status. Repeatable.")
]

_POLL_SECONDS: Final = 0.3


@app.command()
def add(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The https://... address that receives events.")],
    event: Events = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Register an address and print its secret. The service does not show the secret again."""
    with Client(url) as client:
        webhook = client.add_webhook(address, event or ())
    text = (
        f"{webhook['id']} receives {', '.join(webhook['events'])}.\nIts secret, shown only once: {webhook['secret']}"
    )
    print_result(webhook, text, as_json)


@app.command("list")
def list_(as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List webhooks."""
    with Client(url) as client:
        print_page(client.webhooks(), _table, as_json)


@app.command()
def change(
    webhook: WebhookId,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it receives events.")] = None,
    event: Events = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Enable or disable a webhook, or change the events that it receives."""
    changes: dict[str, bool | list[str]] = {} if enable is None else {"enabled": enable}
    with Client(url) as client:
        changed = client.change_webhook(webhook, **changes, **({"events": event} if event else {}))
    print_result(changed, f"{webhook} is {_state(changed)} and receives {', '.join(changed['events'])}.", as_json)


@app.command()
def delete(webhook: WebhookId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Delete a webhook and its deliveries."""
    with Client(url) as client:
        client.delete_webhook(webhook)
    print_deleted(webhook, as_json)


@app.command()
def test(
    webhook: WebhookId,
    seconds: Annotated[float, typer.Option(min=0, help="How long to wait for the delivery.")] = 30,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Send a test event and print the result. Exit codes: 0 delivered, 1 refused or not delivered yet."""
    with Client(url) as client:
        delivery, deadline = client.test_webhook(webhook), time.monotonic() + seconds
        while not delivery["tries"] and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            delivery = client.delivery(webhook, delivery["id"])
    print_result(delivery, f"{delivery['id']} is {delivery['state']}: {_last_attempt(delivery)}", as_json)
    raise typer.Exit(0 if delivery["state"] == "delivered" else 1)


@app.command()
def deliveries(webhook: WebhookId, limit: Limit = 50, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the deliveries to a webhook, newest first."""
    with Client(url) as client:
        print_page(client.deliveries(webhook, limit=limit), _delivery_table, as_json)


@app.command()
def redeliver(
    webhook: WebhookId,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="A delivery's id.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Send a delivery again, with the same id."""
    with Client(url) as client:
        result = client.redeliver(webhook, delivery)
    print_result(result, f"{delivery} is sent again.", as_json)


def _table(webhooks: Sequence[Json]) -> str:
    from gantry.terminal.tables import columns  # noqa: PLC0415

    rows = ([webhook["id"], _state(webhook), ", ".join(webhook["events"]), webhook["url"]] for webhook in webhooks)
    return columns(("ID", "STATE", "EVENTS", "ADDRESS"), rows)


def _delivery_table(deliveries: Sequence[Json]) -> str:
    from gantry.terminal.tables import columns  # noqa: PLC0415

    rows = ([d["id"], d["type"], d["job_id"] or "-", d["state"], _last_attempt(d)] for d in deliveries)
    return columns(("ID", "TYPE", "JOB", "STATE", "LAST ATTEMPT"), rows)


def _state(webhook: Json) -> str:
    reason = webhook["disabled_reason"]
    return "enabled" if webhook["enabled"] else "disabled" if reason is None else f"disabled ({reason['code']})"


def _last_attempt(delivery: Json) -> str:
    """Return the result of the newest attempt to send a delivery."""
    if not delivery["tries"]:
        return "not sent yet."
    last = delivery["tries"][-1]
    response = "no answer" if last["status"] is None else str(last["status"])
    return f"attempt {last['attempt']}: {response} after {last['milliseconds']} ms. {last['error'] or ''}".strip()
