"""`gantry webhooks`: addresses that are told what happens to your jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from gantry.cli.output import (
    AsJson,
    Limit,
    Url,
    print_answer,
    print_page,
    tell_deleted,
)
from gantry.client import DEFAULT_URL, Client, Json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Addresses that are told what happens to your jobs: add, list, change, delete, test.",
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="A webhook's id.")]
Events = Annotated[
    list[str] | None, typer.Option("--event", metavar="TYPE", help="Such as job.status; may be repeated.")
]

_POLL_SECONDS: Final = 0.3


@app.command()
def add(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="https://... that is to be told.")],
    event: Events = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Register an address; its secret is shown this once."""
    with Client(url) as client:
        made = client.add_webhook(address, event or ())
    said = f"{made['id']} is told of {', '.join(made['events'])}.\nIts secret, shown this once: {made['secret']}"
    print_answer(made, said, as_json)


@app.command("list")
def list_(as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List them."""
    with Client(url) as client:
        print_page(client.webhooks(), _table, as_json)


@app.command()
def change(
    webhook: WebhookId,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it is told anything.")] = None,
    event: Events = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Enable or disable one, or have it told of other events."""
    changes: dict[str, bool | list[str]] = {} if enable is None else {"enabled": enable}
    with Client(url) as client:
        hook = client.change_webhook(webhook, **changes, **({"events": event} if event else {}))
    print_answer(hook, f"{webhook} is {_state(hook)} and told of {', '.join(hook['events'])}.", as_json)


@app.command()
def delete(webhook: WebhookId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Forget one, and what it was told."""
    with Client(url) as client:
        client.delete_webhook(webhook)
    tell_deleted(webhook, as_json)


@app.command()
def test(
    webhook: WebhookId,
    seconds: Annotated[float, typer.Option(min=0, help="How long to wait for what comes of it.")] = 30,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Send one a webhook.test, and tell what came of it. Exit 0: delivered; 1: not, or not yet."""
    with Client(url) as client:
        told, until = client.test_webhook(webhook), time.monotonic() + seconds
        while not told["tries"] and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            told = client.delivery(webhook, told["id"])
    print_answer(told, f"{told['id']} is {told['state']}: {_last(told)}", as_json)
    raise typer.Exit(0 if told["state"] == "delivered" else 1)


@app.command()
def deliveries(
    webhook: WebhookId,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List what one was told, newest first."""
    with Client(url) as client:
        print_page(client.deliveries(webhook, limit=limit), _log, as_json)


@app.command()
def redeliver(
    webhook: WebhookId,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="A delivery's id.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Send a delivery again, under its old id."""
    with Client(url) as client:
        again = client.redeliver(webhook, delivery)
    print_answer(again, f"{delivery} is sent again.", as_json)


def _table(hooks: Sequence[Json]) -> str:
    from gantry.terminal.jobs import columns  # noqa: PLC0415

    rows = ([hook["id"], _state(hook), ", ".join(hook["events"]), hook["url"]] for hook in hooks)
    return columns(("ID", "STATE", "EVENTS", "ADDRESS"), rows)


def _log(told: Sequence[Json]) -> str:
    from gantry.terminal.jobs import columns  # noqa: PLC0415

    rows = ([d["id"], d["type"], d["job_id"] or "-", d["state"], _last(d)] for d in told)
    return columns(("ID", "TYPE", "JOB", "STATE", "LAST ATTEMPT"), rows)


def _state(hook: Json) -> str:
    reason = hook["disabled_reason"]
    return "enabled" if hook["enabled"] else "disabled" if reason is None else f"disabled ({reason['code']})"


def _last(delivery: Json) -> str:
    """What came of the newest attempt."""
    if not delivery["tries"]:
        return "not sent yet."
    last = delivery["tries"][-1]
    answered = "no answer" if last["status"] is None else str(last["status"])
    return f"attempt {last['attempt']}: {answered} after {last['milliseconds']} ms. {last['error'] or ''}".strip()
