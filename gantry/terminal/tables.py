"""Lists as tables for the terminal. A table is as wide as its content, so that nothing is cut off in a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gantry.connection import Json
from gantry.terminal.details import preset_title, status_text, verdict_text

_MAX_WIDTH: Final = 2000
_RIGHT_ALIGNED: Final = ("STEP", "IMAGES/S", "AGE", "IMAGES", "CLASSES", "LAST", "MIN", "MAX")


def columns(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return `rows` as aligned columns under their `names`, with a line break after every row."""
    table = Table(box=None, pad_edge=False, header_style="")
    for name in names:
        table.add_column(name, justify="right" if name in _RIGHT_ALIGNED else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=io.StringIO(), color_system=None, force_terminal=False)
    options = console.options.update(max_width=_MAX_WIDTH)
    console.width = max(1, console.measure(table, options=options).maximum)
    with console.capture() as captured:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def job_table(jobs: Sequence[Json]) -> str:
    """Return a table of jobs."""
    names = ("ID", "NAME", "STATUS", "HEALTH", "STEP", "IMAGES/S", "AGE", "DEVICE")
    return columns(names, map(_job_row, jobs))


def worker_table(workers: Sequence[Json]) -> str:
    """Return a table of workers."""
    return columns(("ID", "HOST", "DEVICE", "STATUS", "JOB"), map(_worker_row, workers))


def preset_table(presets: Sequence[Json]) -> str:
    """Return a table of presets."""
    return columns(("PRESET", "WHAT IT IS"), ([preset["name"], preset_title(preset)] for preset in presets))


def metric_table(metrics: Sequence[Json]) -> str:
    """Return a table of curves: last value, minimum, maximum, last step."""
    names = ("CURVE", "LAST", "MIN", "MAX", "STEP")
    rows = (
        [m["name"], *(_number(m[field]) for field in ("last", "min", "max")), str(m["last_step"])] for m in metrics
    )
    return columns(names, rows)


def dataset_table(datasets: Sequence[Json]) -> str:
    """Return a table of data sets."""
    return columns(("NAME", "STATUS", "IMAGES", "SIZE", "CLASSES", "ID"), map(_dataset_row, datasets))


def image_size(dataset: Json) -> str:
    """Return the size of a data set's images, such as "28 x 28 grey"."""
    return f"{dataset['width']} x {dataset['height']} {'grey' if dataset['channels'] == 1 else 'RGB'}"


def _job_row(job: Json) -> list[str]:
    progress, rate = job["progress"], job["progress"]["images_per_second"]
    return [
        job["id"],
        job["name"] or "-",
        status_text(job),
        verdict_text(job["health"]),
        f"{progress['step']}/{progress['total_steps']}",
        f"{rate:,.0f}" if rate else "-",
        _age(datetime.now(UTC) - datetime.fromisoformat(job["created_at"])),
        (job["worker"] or {}).get("device") or "-",
    ]


def _worker_row(worker: Json) -> list[str]:
    devices = ", ".join(device["name"] for device in worker["devices"])
    return [worker["id"], worker["host"], devices or "-", worker["status"], worker["current_job_id"] or "-"]


def _dataset_row(dataset: Json) -> list[str]:
    counts = ["-", "-", "-"]
    if dataset["status"] == "ready":
        counts = [f"{dataset['num_images']:,}", image_size(dataset), str(len(dataset["classes"]))]
    return [dataset["name"], dataset["status"], *counts, dataset["id"]]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _age(age: timedelta) -> str:
    """Return `age` in its largest unit: 5s, 12m, 3h, 9d."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
