"""A data set in the terminal: the progress of its upload and its validation, and all about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, wrap_file

from gantry.client import Client
from gantry.connection import Json
from gantry.terminal.tables import image_size


@contextmanager
def upload_progress(console: Console, file: BinaryIO, size: int) -> Iterator[BinaryIO]:
    """Yield `file`, or in a terminal a wrapper of it that shows how many of its `size` bytes have been read."""
    if not console.is_terminal:
        yield file
        return
    with wrap_file(file, size, description="uploading", console=console, transient=True) as wrapped:
        yield wrapped


def follow(client: Client, dataset: Json, console: Console) -> Json:
    """Show the progress of the validation until it has ended. Return the data set."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    dataset_id, has_preparation = dataset["id"], False
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task("waiting", total=None, numbers="")
        for dataset in client.watch_dataset(dataset_id):
            if dataset["preparation"] and not has_preparation:
                has_preparation = True
                console.print(dataset["preparation"]["words"], highlight=False, soft_wrap=True)
            if (progress := dataset["progress"]) is not None:
                display.update(
                    task,
                    description=progress["phase"],
                    completed=progress["done"],
                    total=progress["total"],
                    numbers=f"{progress['done']:,}/{progress['total']:,} images",
                )
    return dataset


def dataset_details(dataset: Json) -> str:
    """Return all about a data set: status, size, preparation of its images, classes, problems."""
    lines = [f"{dataset['name']} ({dataset['id']}) is {dataset['status']}."]
    if dataset["status"] == "ready":
        held_out = f", and {dataset['num_held_out']:,} held out" if dataset["num_held_out"] else ""
        images = f"{dataset['num_images']:,} images of {image_size(dataset)}{held_out}"
        lines.append(f"  {images}; sha256 {dataset['sha256']}")
    if dataset["preparation"]:
        lines.append(f"  {dataset['preparation']['words']}")
    lines += [f"  note: {note}" for note in dataset.get("notes", ())]
    lines += [f"  {c['id']:>4}  {c['label']}: {c['count']:,}" for c in dataset["classes"]]
    lines += [f"  {problem['code']}: {problem['detail']}" for problem in dataset["problems"]]
    return "\n".join(lines)
