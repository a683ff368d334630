"""`gantry tenants`: the quotas and the usage of each tenant."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from gantry.cli.output import AsJson, Limit, Url, print_page, print_result
from gantry.client import DEFAULT_URL, Client, Json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Tenants, their quotas and usage: list, limit.")

_NO_LIMIT: Final = "none"


@app.command("list")
def list_(limit: Limit = 50, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List tenants with their usage and their quotas."""
    with Client(url) as client:
        print_page(client.tenants(limit=limit), lambda tenants: "".join(f"{_line(t)}\n" for t in tenants), as_json)


@app.command()
def limit(
    tenant: Annotated[str, typer.Argument(help="A tenant's name.")],
    queued: Annotated[str | None, typer.Option(help="Jobs that may be queued, or none.")] = None,
    running: Annotated[str | None, typer.Option(help="Jobs that may run at the same time, or none.")] = None,
    device_hours: Annotated[
        str | None, typer.Option(help="Hours that all its jobs together may run, or none.")
    ] = None,
    storage_mb: Annotated[
        str | None, typer.Option(help="MB of checkpoints, previews and data sets, or none.")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Set a tenant's quotas. `none` removes a limit. Quotas that are left out do not change."""
    values = {
        "max_queued": queued,
        "max_running": running,
        "device_hours": device_hours,
        "storage_mb": storage_mb,
    }
    quotas = {name: _number(name, text) for name, text in values.items() if text is not None}
    with Client(url) as client:
        changed = client.limit_tenant(tenant, quotas)
    print_result(changed, _line(changed), as_json)


def _number(name: str, text: str) -> float | None:
    """Return the number in `text`, or None for no limit."""
    if text == _NO_LIMIT:
        return None
    try:
        number = float(text)
    except ValueError:
        raise typer.BadParameter(f"{name} takes a number or none, not {text!r}.") from None
    return int(number) if number.is_integer() else number


def _line(tenant: Json) -> str:
    usage, quotas = tenant["usage"], tenant["quotas"]
    rows = (
        ("queued", usage["queued"], quotas["max_queued"]),
        ("running", usage["running"], quotas["max_running"]),
        ("device hours", usage["device_hours"], quotas["device_hours"]),
        ("MB", usage["storage_mb"], quotas["storage_mb"]),
    )
    parts = (f"{used:.4g}{'' if quota is None else f' of {quota:g}'} {what}" for what, used, quota in rows)
    return f"{tenant['id']:<16}  {', '.join(parts)}"
