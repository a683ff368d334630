"""`gantry keys`, `tenants` and `audit`: who may call the service, how much each may take, and who did what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import typer

from gantry.cli.output import (
    AsJson,
    Limit,
    Url,
    print_answer,
    print_json,
    print_page,
)
from gantry.cli.service import first_key
from gantry.client import DEFAULT_URL, Client, Json

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keys to the service: create, list, rotate, revoke. They need a key of an administrator's in GANTRY_KEY.",
)
tenants = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Whose jobs are whose: what each may take, and has taken."
)

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="A key's id, as `gantry keys list` shows it.")]

_ALL: Final = ("jobs:read", "jobs:write", "datasets:write")
_NO_LIMIT: Final = "none"


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="For people: who or what is going to hold it.")],
    tenant: Annotated[str, typer.Option(help="Whose: letters, digits and hyphens.")] = "default",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="jobs:read, jobs:write, datasets:write or admin; repeat it.  [default: all but admin]"),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Days that it opens.  [default: for good]")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Make a key. It is printed once, and nobody can read it afterwards."""
    body: Json = {"name": name, "tenant": tenant, "scopes": scope or list(_ALL)}
    with Client(url) as client:
        made = client.create_key(body if days is None else {**body, "expires_in_days": days})
    _print_new(made, as_json)


keys.command("first")(first_key)


@keys.command("list")
def list_(
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List keys, newest first: whose, what each opens, when it was last used."""
    from gantry.terminal.jobs import columns  # noqa: PLC0415

    def table(rows: Sequence[Json]) -> str:
        cells = ([r["id"], r["tenant"], r["name"], ",".join(r["scopes"]), _state(r)] for r in rows)
        return columns(("ID", "TENANT", "NAME", "SCOPES", "STATE"), cells)

    with Client(url) as client:
        print_page(client.keys(limit=limit), table, as_json)


@keys.command()
def rotate(
    key: KeyId,
    overlap_hours: Annotated[float, typer.Option(min=0, max=720, help="How long the old one goes on.")] = 24,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Make a key in another's place; both open until the old one's time is over."""
    with Client(url) as client:
        _print_new(client.rotate_key(key, overlap_hours * 3600), as_json)


@keys.command()
def revoke(key: KeyId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Have a key open nothing any more, within seconds and for good."""
    with Client(url) as client:
        revoked = client.revoke_key(key)
    print_answer(revoked, f"{revoked['id']} is revoked.", as_json)


@tenants.command("list")
def list_tenants(
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List tenants: what each has taken, of what it may take."""
    with Client(url) as client:
        print_page(client.tenants(limit=limit), lambda rows: "".join(f"{_told(row)}\n" for row in rows), as_json)


@tenants.command()
def limit(
    tenant: Annotated[str, typer.Argument(help="A tenant's name.")],
    queued: Annotated[str | None, typer.Option(help="Jobs that may wait, or none.")] = None,
    running: Annotated[str | None, typer.Option(help="Jobs that may run at a time, or none.")] = None,
    device_hours: Annotated[str | None, typer.Option(help="Hours that its jobs may run altogether, or none.")] = None,
    storage_mb: Annotated[str | None, typer.Option(help="MB of checkpoints, previews, data sets, or none.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Set a tenant's quotas; `none` takes a limit away, what is left out stays."""
    asked = {
        "max_queued": queued,
        "max_running": running,
        "device_hours": device_hours,
        "storage_mb": storage_mb,
    }
    quotas = {name: _number(name, text) for name, text in asked.items() if text is not None}
    with Client(url) as client:
        limited = client.limit_tenant(tenant, quotas)
    print_answer(limited, _told(limited), as_json)


def audit(
    subject: Annotated[str | None, typer.Option(help="Done to this id, such as a job's.")] = None,
    actor: Annotated[str | None, typer.Option(help="Asked with the key of this id.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Done to something of this tenant's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List who did what, newest first; of what is deleted, too."""
    asked = {"subject": subject, "actor": actor, "tenant": tenant}
    with Client(url) as client:
        page = client.acts(limit=limit, **{name: value for name, value in asked.items() if value is not None})
    print_page(page, lambda rows: "".join(map(_act, rows)), as_json)


def _act(row: Json) -> str:
    return f"{row['at']}  {row['actor']:<30}  {row['action']:<18}  {row['subject']}  ({row['tenant']})\n"


def _number(name: str, text: str) -> float | None:
    if text == _NO_LIMIT:
        return None
    try:
        number = float(text)
    except ValueError:
        raise typer.BadParameter(f"{name} takes a number or none, not {text!r}.") from None
    return int(number) if number.is_integer() else number


def _told(row: Json) -> str:
    used, quotas = row["usage"], row["quotas"]
    pairs = (
        ("queued", used["queued"], quotas["max_queued"]),
        ("running", used["running"], quotas["max_running"]),
        ("device hours", used["device_hours"], quotas["device_hours"]),
        ("MB", used["storage_mb"], quotas["storage_mb"]),
    )
    parts = (f"{taken:.4g}{'' if most is None else f' of {most:g}'} {what}" for what, taken, most in pairs)
    return f"{row['id']:<16}  {', '.join(parts)}"


def _state(row: Json) -> str:
    if row["revoked_at"]:
        return "revoked"
    if row["expires_at"] and _moment(row["expires_at"]) < datetime.now(_moment(row["expires_at"]).tzinfo):
        return "over"
    return f"last used {row['last_used_at'] or 'never'}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _print_new(made: Json, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    typer.echo(made["key"])
    typer.echo(f"{made['id']}, of {made['tenant']}. The key is shown this once: keep it.", err=True)
