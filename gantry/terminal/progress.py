"""The progress of a job: a bar with its numbers in a terminal, a line every few seconds in a pipe or file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from gantry.client import Client
from gantry.connection import Json
from gantry.terminal.details import (
    SEPARATOR,
    best_quality,
    finding_line,
    health_report,
    outcome,
    progress_numbers,
    status_text,
)

_SECONDS_PER_LINE: Final = 5.0
# Characters that the bar and its numbers need to fit in one line.
_WIDTH_FOR_ONE_LINE: Final = 110


def follow(client: Client, job_id: str, console: Console) -> Json:
    """Show the job until it has ended, then its outcome, quality and health. Return the job."""
    job: Json = {}
    known: set[tuple[str, int]] = set()
    with _display(console) as display:
        for job in client.watch(job_id):
            display.show(job)
            for finding in _new_findings(job, known):
                display.print(finding_line(finding))
    lines = [outcome(job), best_quality(client.best_evaluation(job_id)), health_report(job)]
    _print(console, "\n".join(line for line in lines if line))
    return job


def _new_findings(job: Json, known: set[tuple[str, int]]) -> Iterator[Json]:
    """Yield the findings that are not in `known`, and add them to it."""
    for finding in job["health"]["findings"]:
        key = finding["code"], finding["began_at_step"]
        if key not in known:
            known.add(key)
            yield finding


class _Display(Protocol):
    def show(self, job: Json) -> None: ...

    def print(self, line: str) -> None: ...


@contextmanager
def _display(console: Console) -> Iterator[_Display]:
    if not console.is_terminal:
        yield _PlainDisplay(console)
        return
    with _JobProgress(console) as progress:
        yield _LiveDisplay(progress)


class _LiveDisplay:
    """A progress bar that is drawn again and again in the same place."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=None, numbers="")

    def show(self, job: Json) -> None:
        progress = job["progress"]
        self._progress.update(
            self._task,
            description=status_text(job),
            completed=progress["step"],
            total=progress["total_steps"],
            numbers=progress_numbers(job),
        )

    def print(self, line: str) -> None:
        _print(self._progress.console, line)


class _JobProgress(Progress):
    """A bar with the job's numbers beside it, or below it if the terminal is too narrow for both."""

    def __init__(self, console: Console) -> None:
        # `get_renderables` is called before `Progress` has set its own console.
        self._terminal = console
        super().__init__(console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        one_line = self._terminal.width >= _WIDTH_FOR_ONE_LINE
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        self.columns = (*columns, TextColumn("{task.fields[numbers]}")) if one_line else columns
        yield from super().get_renderables()
        for task in self.tasks:
            if not one_line and (numbers := task.fields["numbers"]):
                # In columns, so that no line break separates a number from its name.
                yield Columns(map(Text, numbers.split(SEPARATOR)), padding=(0, len(SEPARATOR)))


class _PlainDisplay:
    """A line for each change of status, and every few seconds a line if it differs from the last one."""

    def __init__(self, console: Console) -> None:
        self._console, self._next_line_at, self._status, self._last_line = console, 0.0, "", ""

    def show(self, job: Json) -> None:
        if job["status"] == self._status and time.monotonic() < self._next_line_at:
            return
        self._status, self._next_line_at = job["status"], time.monotonic() + _SECONDS_PER_LINE
        progress, numbers = job["progress"], progress_numbers(job)
        line = (
            f"{status_text(job)}: step {progress['step']} of {progress['total_steps']}{SEPARATOR}{numbers}".rstrip()
        )
        if line != self._last_line:
            self._last_line = line
            self.print(line)

    def print(self, line: str) -> None:
        _print(self._console, line)


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
