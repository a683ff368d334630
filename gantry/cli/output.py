"""Options that many commands share, and how an answer is printed: a sentence for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from gantry.client import Json

Url = Annotated[str, typer.Option("--url", envvar="GANTRY_URL", help="Where the service is.")]

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]

Limit = Annotated[int, typer.Option(min=1, max=200, help="How many.")]

JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


@contextmanager
def until_interrupted(what: str) -> Iterator[None]:
    """Ctrl-C ends the looking, and nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Not watching any more; {what} goes on.", err=True)
        raise typer.Exit(130) from None


def print_json(answer: Json | list[Json]) -> None:
    """For programs."""
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def print_answer(answer: Json, sentence: str, as_json: bool) -> None:
    """What came of it: a sentence for people, the whole answer for programs."""
    if as_json:
        print_json(answer)
    else:
        typer.echo(sentence)


def tell_deleted(name: str, as_json: bool) -> None:
    """That it is no more."""
    print_answer({"deleted": name}, f"{name} is deleted.", as_json)


def print_page(page: Json, table: Callable[[Sequence[Json]], str], as_json: bool) -> None:
    """A page of a list, as a table for people."""
    if as_json:
        print_json(page)
        return
    typer.echo(table(page["data"]), nl=False)
    if page["has_more"]:
        typer.echo("There are more: raise --limit (200 at most).", err=True)
