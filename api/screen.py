"""A job in the terminal: a progress bar with both losses; a line now and then where there is no terminal."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from api.client import Client, Json

_SECONDS_A_LINE: Final = 5.0
_WIDEST: Final = 2000


class _Shown(Protocol):
    def show(self, job: Json) -> None: ...


def follow(client: Client, job_id: str, console: Console) -> Json:
    """Show the job until it has ended; the job as it then is."""
    job: Json = {}
    with _display(console) as display:
        for job in client.watch(job_id):
            display.show(job)
    console.print(ending(job), highlight=False, markup=False, soft_wrap=True)
    return job


def numbers(job: Json) -> str:
    """Losses, rate and time left, as far as they are known."""
    latest, progress = job["latest_metrics"], job["progress"]
    words = [f"{name} {latest[name]:.3f}" for name in ("loss_d", "loss_g") if latest.get(name) is not None]
    if progress["images_per_second"]:
        words.append(f"{progress['images_per_second']:,.0f} images/s")
    if progress["eta_seconds"] is not None:
        words.append(f"{_clock(progress['eta_seconds'])} left")
    return "  ".join(words)


def ending(job: Json) -> str:
    """How it ended; below it a failed job's cause and its remedy, a line each."""
    lines = [f"{job['id']} {job['status']} at step {job['progress']['step']}."]
    if job["error"]:
        lines += [job["error"]["message"], job["error"]["hint"]]
    return "\n".join(line for line in lines if line)


def table(jobs: Sequence[Json]) -> str:
    """A row a job under a row of names, as wide as it needs to be: a pipe cuts nothing off."""
    made = Table(box=None, pad_edge=False, header_style="")
    for name in ("ID", "NAME", "STATUS", "STEP", "IMAGES/S", "AGE", "DEVICE"):
        made.add_column(name, justify="right" if name in ("STEP", "IMAGES/S", "AGE") else "left", no_wrap=True)
    for job in jobs:
        made.add_row(*(Text(cell) for cell in _cells(job)))
    console = Console(file=io.StringIO(), color_system=None, force_terminal=False)
    console.width = max(1, console.measure(made, options=console.options.update(max_width=_WIDEST)).maximum)
    with console.capture() as captured:
        console.print(made)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _cells(job: Json) -> list[str]:
    progress, rate = job["progress"], job["progress"]["images_per_second"]
    return [
        job["id"],
        job["name"] or "-",
        standing(job),
        f"{progress['step']}/{progress['total_steps']}",
        f"{rate:,.0f}" if rate else "-",
        _age(datetime.now(UTC) - datetime.fromisoformat(job["created_at"])),
        (job["worker"] or {}).get("device") or "-",
    ]


def _age(since: timedelta) -> str:
    """The largest unit alone: 5s, 12m, 3h, 9d."""
    seconds = max(0, int(since.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def standing(job: Json) -> str:
    """What the job is doing, in a word or four."""
    if job["queue"]:
        return f"queued, {job['queue']['jobs_ahead']} ahead"
    return f"attempt {job['attempt']}" if job["status"] == "running" and job["attempt"] > 1 else str(job["status"])


@contextmanager
def _display(console: Console) -> Iterator[_Shown]:
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=None, numbers="")

    def show(self, job: Json) -> None:
        done = job["progress"]
        self._progress.update(
            self._task,
            description=standing(job),
            completed=done["step"],
            total=done["total_steps"],
            numbers=numbers(job),
        )


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._due, self._status = console, 0.0, ""

    def show(self, job: Json) -> None:
        # Every change of status, and else a line each few seconds.
        if job["status"] == self._status and time.monotonic() < self._due:
            return
        self._status, self._due = job["status"], time.monotonic() + _SECONDS_A_LINE
        done = job["progress"]
        line = f"{standing(job)}: step {done['step']} of {done['total_steps']}  {numbers(job)}".rstrip()
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
