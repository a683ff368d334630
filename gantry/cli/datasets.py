"""`gantry datasets`: upload, list, show and delete data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gantry.cli.output import AsJson, Limit, Url, print_deleted, print_json, print_page, until_interrupted
from gantry.client import DEFAULT_URL, Client, Json
from gantry.errors import FolderUnreadableError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Your own images: add, list, show, delete.")

Name = Annotated[str, typer.Argument(metavar="DATASET", help="A data set's name or id.")]


@app.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A zip or a folder of PNG, JPEG or WebP images, with one folder for each class, or with none.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the data set.  [default: the name of PATH]")] = None,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=128, help="Height and width in pixels.  [default: the size that fits the images]"),
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Upload your own images and wait for their validation. Exit codes: 0 ready, 1 refused."""
    from rich.console import Console  # noqa: PLC0415

    from gantry.archive import as_archive, readable, upload_name  # noqa: PLC0415
    from gantry.terminal.datasets import follow, upload_progress  # noqa: PLC0415

    console = Console(stderr=True)
    with Client(url) as client:
        try:
            with (
                as_archive(file) as archive,
                archive.open("rb") as content,
                upload_progress(console, content, archive.stat().st_size) as upload,
            ):
                dataset = client.add_dataset(upload, upload_name(file), name=name, size=size)
        except FolderUnreadableError as error:
            raise typer.BadParameter(str(error)) from None
        except OSError as error:
            named = readable(error.filename or file)
            raise typer.BadParameter(f"{named} cannot be read: {error.strerror}.") from None
        with until_interrupted(dataset["name"]):
            dataset = follow(client, dataset, console)
    _print(dataset, as_json)
    raise typer.Exit(0 if dataset["status"] == "ready" else 1)


@app.command("list")
def list_(limit: Limit = 50, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the data sets that a job can use."""
    from gantry.terminal.tables import dataset_table  # noqa: PLC0415

    with Client(url) as client:
        print_page(client.datasets(limit=limit), dataset_table, as_json)


@app.command()
def show(dataset: Name, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show a data set: classes, preparation of its images, problems."""
    with Client(url) as client:
        _print(client.dataset(dataset), as_json)


@app.command()
def delete(dataset: Name, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Delete a data set and its files. The service refuses while a job needs it."""
    with Client(url) as client:
        client.delete_dataset(dataset)
    print_deleted(dataset, as_json)


def _print(dataset: Json, as_json: bool) -> None:
    if as_json:
        print_json(dataset)
        return
    from gantry.terminal.datasets import dataset_details  # noqa: PLC0415

    typer.echo(dataset_details(dataset))
