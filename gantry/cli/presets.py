"""`gantry presets`."""

from __future__ import annotations

from typing import Annotated

import typer

from gantry.cli.output import AsJson, Url, print_json, print_page
from gantry.client import DEFAULT_URL, Client


def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="PRESET", help="Show only this preset, with more about it.")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the presets, or show one. A preset is a named starting point for a job."""
    from gantry.terminal.details import preset_details  # noqa: PLC0415
    from gantry.terminal.tables import preset_table  # noqa: PLC0415

    with Client(url) as client:
        if name is None:
            print_page(client.presets(), preset_table, as_json)
            return
        preset = client.preset(name)
    if as_json:
        print_json(preset)
    else:
        typer.echo(preset_details(preset))
