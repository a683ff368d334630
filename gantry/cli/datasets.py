"""`gantry datasets`: bring images, list, look at, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gantry.cli.output import (
    AsJson,
    Limit,
    Url,
    print_json,
    print_page,
    tell_deleted,
    until_interrupted,
)
from gantry.client import DEFAULT_URL, Client, Json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Your own images: add, list, show, delete.")

Name = Annotated[str, typer.Argument(metavar="DATASET", help="A data set's name or id.")]


@app.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A zip or a folder of PNG, JPEG or WebP images: a folder a class, or all at the top."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="What jobs call it.  [default: the name of PATH]")] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=128, help="Pixels, wide and high.  [default: what fits the images]")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Bring your own images, and wait until they can be trained on. Exit 0: ready; 1: refused."""
    from rich.console import Console  # noqa: PLC0415

    from gantry.archive import as_archive  # noqa: PLC0415
    from gantry.terminal.upload import follow, uploading  # noqa: PLC0415

    console = Console(stderr=True)
    with Client(url) as client:
        try:
            with (
                as_archive(file) as archive,
                archive.open("rb") as content,
                uploading(console, content, archive.stat().st_size) as told,
            ):
                made = client.add_dataset(told, _file_name(file), name=name, size=size)
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.") from None
        with until_interrupted(made["name"]):
            made = follow(client, made, console)
    _print(made, as_json)
    raise typer.Exit(0 if made["status"] == "ready" else 1)


@app.command("list")
def list_(limit: Limit = 50, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the data sets that a job may name."""
    from gantry.terminal.upload import table  # noqa: PLC0415

    with Client(url) as client:
        print_page(client.datasets(limit=limit), table, as_json)


@app.command()
def show(dataset: Name, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show one: classes, what is done to its images, problems."""
    with Client(url) as client:
        _print(client.dataset(dataset), as_json)


@app.command()
def delete(dataset: Name, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Remove one and its files; refused while a job names it."""
    with Client(url) as client:
        client.delete_dataset(dataset)
    tell_deleted(dataset, as_json)


def _file_name(path: Path) -> str:
    """What the service calls the data set by, less the suffix."""
    return f"{path.resolve().name}.zip" if path.is_dir() else path.name


def _print(dataset: Json, as_json: bool) -> None:
    if as_json:
        print_json(dataset)
        return
    from gantry.terminal.upload import told  # noqa: PLC0415

    typer.echo(told(dataset))
