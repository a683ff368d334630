"""`gantry audit`: the log of who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from gantry.cli.output import AsJson, Limit, Url, print_page
from gantry.client import DEFAULT_URL, Client, Json


def audit(
    subject: Annotated[str | None, typer.Option(help="Only acts on this id, such as a job's.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only acts with the key of this id.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only acts on objects of this tenant.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List who did what, newest first. Acts on deleted objects are included."""
    filters = {"subject": subject, "actor": actor, "tenant": tenant}
    with Client(url) as client:
        page = client.acts(limit=limit, **{name: value for name, value in filters.items() if value is not None})
    print_page(page, lambda acts: "".join(map(_line, acts)), as_json)


def _line(act: Json) -> str:
    return f"{act['at']}  {act['actor']:<30}  {act['action']:<18}  {act['subject']}  ({act['tenant']})\n"
