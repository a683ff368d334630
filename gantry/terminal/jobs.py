"""A job in the terminal: a progress bar with both losses; a line now and then where there is no terminal."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from jsonpointer import JsonPointer
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from gantry.client import Client, Json, stopping
from gantry.quality import SUMMARY

_SECONDS_A_LINE: Final = 5.0
_WIDEST: Final = 2000
# Characters that a bar and its numbers need beside each other.
_BESIDE: Final = 110
_BETWEEN: Final = "  "
_NUMBERS: Final = ("STEP", "IMAGES/S", "AGE", "IMAGES", "CLASSES", "LAST", "MIN", "MAX")


class _Shown(Protocol):
    def show(self, job: Json) -> None: ...

    def tell(self, line: str) -> None: ...


def follow(client: Client, job_id: str, console: Console) -> Json:
    """Show the job until it has ended; the job as it then is."""
    job: Json = {}
    told: set[tuple[str, int]] = set()
    with _display(console) as display:
        for job in client.watch(job_id):
            display.show(job)
            for finding in _news(job, told):
                display.tell(_observed(finding))
    lines = [ending(job), quality(client.best_evaluation(job_id)), verdict(job)]
    _say(console, "\n".join(line for line in lines if line))
    return job


def numbers(job: Json) -> str:
    """Losses, distance to the real images, rate and time left, as far as they are known."""
    latest, progress = job["latest_metrics"], job["progress"]
    words = [f"{name} {latest[name]:.3f}" for name in ("loss_d", "loss_g", "fcd") if latest.get(name) is not None]
    if progress["images_per_second"]:
        words.append(f"{progress['images_per_second']:,.0f} images/s")
    if progress["eta_seconds"] is not None:
        words.append(f"{_clock(progress['eta_seconds'])} left")
    return _BETWEEN.join(words)


def ending(job: Json) -> str:
    """How it ended; below it why, where that is known, and what a failed job's remedy is, a line each."""
    lines = [f"{job['id']} {job['status']} at step {job['progress']['step']}."]
    if job["status_reason"]:
        lines.append(job["status_reason"]["message"])
    if job["error"]:
        lines += [job["error"]["message"], job["error"]["hint"]]
    return "\n".join(line for line in lines if line)


def quality(best: Json | None) -> str:
    """The figures of the best evaluation that matter most; nothing without one."""
    if best is None:
        return ""
    figures = best["metrics"]
    words = [f"{name.replace('_', ' ')} {figures[name]:.3g}" for name in SUMMARY if figures.get(name) is not None]
    return f"Best at step {best['step']}: {', '.join(words)}."


def verdict(job: Json) -> str:
    """What is made of the run, what was found, and how to do better; nothing where nobody has looked."""
    health = job["health"]
    if health["verdict"] == "unknown" and not health["findings"]:
        return ""
    lines = [f"Verdict: {health['verdict']}."]
    for finding in health["findings"]:
        lines.append(_observed(finding))
        lines += [f"    {_field(remedy)}: {remedy['why']}" for remedy in finding["remedy"]]
        if finding["remedy"]:
            lines.append(f"    gantry submit --from {job['id']} --remedy {finding['code']}")
    return "\n".join(lines)


def _observed(finding: Json) -> str:
    about = f"{finding['code']} ({finding['severity']}, from step {finding['began_at_step']} on)"
    return f"  {about}: {finding['message']}"


def _field(remedy: Json) -> str:
    return f"{'.'.join(JsonPointer(remedy['pointer']).parts)} = {json.dumps(remedy['value'], ensure_ascii=False)}"


def _news(job: Json, told: set[tuple[str, int]]) -> Iterator[Json]:
    """The findings that are not among those that were `told`, to which they are added."""
    for finding in job["health"]["findings"]:
        name = finding["code"], finding["began_at_step"]
        if name not in told:
            told.add(name)
            yield finding


def table(jobs: Sequence[Json]) -> str:
    """A row a job under a row of names, as wide as it needs to be: a pipe cuts nothing off."""
    names = ("ID", "NAME", "STATUS", "HEALTH", "STEP", "IMAGES/S", "AGE", "DEVICE")
    return columns(names, map(_cells, jobs))


def worker_table(workers: Sequence[Json]) -> str:
    """As `table`, of workers."""
    return columns(("ID", "HOST", "DEVICE", "STATUS", "JOB"), map(_cells_of_worker, workers))


def preset_table(presets: Sequence[Json]) -> str:
    """As `table`, of presets."""
    return columns(("PRESET", "WHAT IT IS"), ([p["name"], _titled(p)] for p in presets))


def preset_sheet(preset: Json) -> str:
    """All that a person asks of a preset."""
    lines = [f"{preset['name']}: {_titled(preset)}", preset["summary"], preset["reach"], f"From {preset['paper']}"]
    return "\n".join(line for line in lines if line)


def metric_table(metrics: Sequence[Json]) -> str:
    """As `table`, of curves."""
    names = ("CURVE", "LAST", "MIN", "MAX", "STEP")
    rows = ([m["name"], *(_figure(m[of]) for of in ("last", "min", "max")), str(m["last_step"])] for m in metrics)
    return columns(names, rows)


def job_sheet(job: Json, best: Json | None) -> str:
    """All that a person asks of a job."""
    spec, done = job["spec"], job["progress"]
    of = f"of {job['retry_of']}, again; " if job["retry_of"] else ""
    device = (job["worker"] or {}).get("device")
    lines = [
        f"{job['id']}{' ' + repr(job['name']) if job['name'] else ''}: {standing(job)}",
        f"  {of}{spec['preset'] or 'no preset'} on {spec['dataset']}, seed {spec['seed']}"
        + (f", by {device}" if device else ""),
        f"  step {done['step']} of {done['total_steps']}  {numbers(job)}".rstrip(),
        *(ending(job).splitlines()[1:]),
        quality(best),
        verdict(job),
        f"You may: {', '.join(job['allowed_actions']) or 'only look'}.",
    ]
    return "\n".join(line for line in lines if line)


def columns(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under their names, as wide as they need."""
    made = Table(box=None, pad_edge=False, header_style="")
    for name in names:
        made.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
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
        _known(job["health"]["verdict"]),
        f"{progress['step']}/{progress['total_steps']}",
        f"{rate:,.0f}" if rate else "-",
        _age(datetime.now(UTC) - datetime.fromisoformat(job["created_at"])),
        (job["worker"] or {}).get("device") or "-",
    ]


def _cells_of_worker(worker: Json) -> list[str]:
    devices = ", ".join(device["name"] for device in worker["devices"])
    return [worker["id"], worker["host"], devices or "-", worker["status"], worker["current_job_id"] or "-"]


def _titled(preset: Json) -> str:
    return f"{preset['title']}{' (the default)' if preset['is_default'] else ''}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _known(word: str) -> str:
    return "-" if word == "unknown" else word


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
    if job["status"] != "running":
        return str(job["status"])
    if told := stopping(job):
        return told
    if (job["status_reason"] or {}).get("code") == "preparing":
        return "preparing"
    return f"attempt {job['attempt']}" if job["attempt"] > 1 else "running"


@contextmanager
def _display(console: Console) -> Iterator[_Shown]:
    if not console.is_terminal:
        yield _PlainProgress(console)
        return
    with _Numbered(console) as progress:
        yield _LiveProgress(progress)


class _Numbered(Progress):
    """A bar with its numbers beside it, or below it where the terminal is too narrow for both."""

    def __init__(self, console: Console) -> None:
        # Asked before Progress knows its own.
        self._screen = console
        super().__init__(console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        beside = self._screen.width >= _BESIDE
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        self.columns = (*columns, TextColumn("{task.fields[numbers]}")) if beside else columns
        yield from super().get_renderables()
        for task in self.tasks:
            if not beside and (words := task.fields["numbers"]):
                # In columns, so that no number is torn from its name.
                yield Columns(map(Text, words.split(_BETWEEN)), padding=(0, len(_BETWEEN)))


class _LiveProgress:
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

    def tell(self, line: str) -> None:
        _say(self._progress.console, line)


class _PlainProgress:
    def __init__(self, console: Console) -> None:
        self._console, self._due, self._status, self._told = console, 0.0, "", ""

    def show(self, job: Json) -> None:
        # Every change of status, and else a line each few seconds, where it says something new.
        if job["status"] == self._status and time.monotonic() < self._due:
            return
        self._status, self._due = job["status"], time.monotonic() + _SECONDS_A_LINE
        done = job["progress"]
        line = f"{standing(job)}: step {done['step']} of {done['total_steps']}  {numbers(job)}".rstrip()
        if line != self._told:
            self._told = line
            self.tell(line)

    def tell(self, line: str) -> None:
        _say(self._console, line)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
