"""A data set in the terminal: an upload's progress line, then what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, wrap_file

from gantry.client import Client, Json
from gantry.terminal.jobs import columns


@contextmanager
def uploading(console: Console, file: BinaryIO, size: int) -> Iterator[BinaryIO]:
    """The file, to be read by whoever sends it; a line tells how much of it is sent."""
    if not console.is_terminal:
        yield file
        return
    with wrap_file(file, size, description="uploading", console=console, transient=True) as told:
        yield told


def follow(client: Client, dataset: Json, console: Console) -> Json:
    """Show how far its validation is, until that has ended; the data set as it then is."""
    line = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[numbers]}"))
    planned = False
    with Progress(*line, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("waiting", total=None, numbers="")
        for now in client.watch_dataset(dataset["id"]):
            if now["preparation"] and not planned:
                planned = True
                console.print(now["preparation"]["words"], highlight=False, soft_wrap=True)
            if (far := now["progress"]) is not None:
                numbers = f"{far['done']:,}/{far['total']:,} images"
                shown.update(
                    task, description=far["phase"], completed=far["done"], total=far["total"], numbers=numbers
                )
    return now


def table(datasets: Sequence[Json]) -> str:
    """A line each."""
    return columns(("NAME", "STATUS", "IMAGES", "SIZE", "CLASSES", "ID"), map(_cells, datasets))


def told(dataset: Json) -> str:
    """All that a person asks of one: what it is, what is done to its images, and what is wrong with it."""
    lines = [f"{dataset['name']} ({dataset['id']}) is {dataset['status']}."]
    if dataset["status"] == "ready":
        apart = f", and {dataset['num_held_out']:,} held out" if dataset["num_held_out"] else ""
        lines.append(f"  {dataset['num_images']:,} images of {_size(dataset)}{apart}; sha256 {dataset['sha256']}")
    if dataset["preparation"]:
        lines.append(f"  {dataset['preparation']['words']}")
    lines += [f"  {c['id']:>4}  {c['label']}: {c['count']:,}" for c in dataset["classes"]]
    lines += [f"  {problem['code']}: {problem['detail']}" for problem in dataset["problems"]]
    return "\n".join(lines)


def _cells(dataset: Json) -> list[str]:
    ready = dataset["status"] == "ready"
    numbers = (f"{dataset['num_images']:,}", _size(dataset), str(len(dataset["classes"]))) if ready else ("-",) * 3
    return [dataset["name"], dataset["status"], *numbers, dataset["id"]]


def _size(dataset: Json) -> str:
    return f"{dataset['width']} x {dataset['height']} {'grey' if dataset['channels'] == 1 else 'RGB'}"
