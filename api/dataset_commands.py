"""`gantry datasets`: bring images, list, look at, delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from api.client import Client, Json
from api.commands import DEFAULT_URL, AsJson, Url

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Your own images: add, list, show, delete.")

Name = Annotated[str, typer.Argument(metavar="DATASET", help="A data set's name or id.")]


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(metavar="ZIP", help="PNG, JPEG or WebP images: a folder a class, or all at the top.")
    ],
    name: Annotated[str | None, typer.Option(help="What jobs call it.  [default: the file's name]")] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=128, help="Pixels, wide and high.  [default: what fits the images]")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Bring a zip of images, and wait until it is ready. Exit 0: ready; 1: refused."""
    from rich.console import Console  # noqa: PLC0415

    from api.dataset_screen import follow, uploading  # noqa: PLC0415

    console = Console(stderr=True)
    with Client(url) as client:
        try:
            with file.open("rb") as content, uploading(console, content, file.stat().st_size) as told:
                made = client.add_dataset(told, file.name, name=name, size=size)
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.") from None
        try:
            made = follow(client, made, console)
        except KeyboardInterrupt:
            typer.echo(f"Not watching any more; {made['name']} goes on.", err=True)
            raise typer.Exit(130) from None
    _print(made, as_json)
    raise typer.Exit(0 if made["status"] == "ready" else 1)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the data sets that a job may name."""
    with Client(url) as client:
        page = client.datasets(limit=limit)
    if as_json:
        typer.echo(json.dumps(page, indent=2, ensure_ascii=False))
        return
    from api.dataset_screen import table  # noqa: PLC0415

    typer.echo(table(page["data"]), nl=False)


@app.command()
def show(dataset: Name, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show one: classes, what is done to its images, problems."""
    with Client(url) as client:
        _print(client.dataset(dataset), as_json)


@app.command()
def delete(dataset: Name, url: Url = DEFAULT_URL) -> None:
    """Remove one and its files; refused while a job names it."""
    with Client(url) as client:
        client.delete_dataset(dataset)
    typer.echo(f"{dataset} is deleted.")


def _print(dataset: Json, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dataset, indent=2, ensure_ascii=False))
        return
    from api.dataset_screen import told  # noqa: PLC0415

    typer.echo(told(dataset))
