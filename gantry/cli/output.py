"""Options that many commands share, and how a command prints its result: text for people, JSON for programs.

`gantry.terminal` draws the text: the progress bar, tables and images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from gantry.connection import Json

Url = Annotated[str, typer.Option("--url", envvar="GANTRY_URL", help="Address of the service.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

Limit = Annotated[int, typer.Option(min=1, max=200, help="How many to list at most.")]

JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


@contextmanager
def until_interrupted(what: str) -> Iterator[None]:
    """Exit with code 130 on Ctrl-C, with a message that `what` continues."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Stopped watching; {what} continues.", err=True)
        raise typer.Exit(130) from None


def print_json(result: Json | list[Json]) -> None:
    """Print `result` as JSON."""
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False))


def print_result(result: Json, sentence: str, as_json: bool) -> None:
    """Print `sentence`, or the whole `result` as JSON."""
    if as_json:
        print_json(result)
    else:
        typer.echo(sentence)


def print_deleted(name: str, as_json: bool) -> None:
    """Print that `name` is deleted."""
    print_result({"deleted": name}, f"{name} is deleted.", as_json)


def print_page(page: Json, table: Callable[[Sequence[Json]], str], as_json: bool) -> None:
    """Print a page of a list, formatted by `table` or as JSON. A note on stderr says if the list continues."""
    if as_json:
        print_json(page)
        return
    typer.echo(table(page["data"]), nl=False)
    if page["has_more"]:
        typer.echo("There are more: raise --limit (200 at most).", err=True)
