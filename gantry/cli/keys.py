"""`gantry keys`: who may use the service. `gantry keys first`, which needs no key, is in `service.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from gantry.cli.output import AsJson, Limit, Url, print_json, print_page, print_result
from gantry.client import DEFAULT_URL, Client, Json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keys to the service: create, list, rotate, revoke. GANTRY_KEY must hold an administrator's key.",
)

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="A key's id, from `gantry keys list`.")]

_DEFAULT_SCOPES: Final = ("jobs:read", "jobs:write", "datasets:write")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for people: who or what will use the key.")],
    tenant: Annotated[
        str, typer.Option(help="The tenant that the key belongs to: letters, digits and hyphens.")
    ] = "default",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="jobs:read, jobs:write, datasets:write or admin. Repeatable.  [default: all but admin]"),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.001, help="Days until the key expires.  [default: it does not expire]")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Create a key and print it. The service does not show it again."""
    body: Json = {"name": name, "tenant": tenant, "scopes": scope or list(_DEFAULT_SCOPES)}
    with Client(url) as client:
        created = client.create_key(body if days is None else {**body, "expires_in_days": days})
    _print_new(created, as_json)


@app.command("list")
def list_(limit: Limit = 50, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List keys, newest first, with their tenant, their scopes and their last use."""
    with Client(url) as client:
        print_page(client.keys(limit=limit), _table, as_json)


@app.command()
def rotate(
    key: KeyId,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=720, help="Hours for which the old key stays valid.")
    ] = 24,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Create a key that replaces another. Both are valid until the overlap ends."""
    with Client(url) as client:
        _print_new(client.rotate_key(key, overlap_hours * 3600), as_json)


@app.command()
def revoke(key: KeyId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Revoke a key. It becomes invalid within seconds and stays so."""
    with Client(url) as client:
        revoked = client.revoke_key(key)
    print_result(revoked, f"{revoked['id']} is revoked.", as_json)


def _table(keys: Sequence[Json]) -> str:
    from gantry.terminal.tables import columns  # noqa: PLC0415

    rows = ([key["id"], key["tenant"], key["name"], ",".join(key["scopes"]), _state(key)] for key in keys)
    return columns(("ID", "TENANT", "NAME", "SCOPES", "STATE"), rows)


def _state(key: Json) -> str:
    if key["revoked_at"]:
        return "revoked"
    if key["expires_at"] and datetime.fromisoformat(key["expires_at"]) < datetime.now(UTC):
        return "expired"
    return f"last used {key['last_used_at'] or 'never'}"


def _print_new(key: Json, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    typer.echo(key["key"])
    typer.echo(f"{key['id']}, tenant {key['tenant']}. Save the key now: it is not shown again.", err=True)
