"""The progress of a job, in terminals of several widths and in a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from gantry.client import Client, Json
from gantry.terminal import progress
from gantry.terminal.progress import follow
from jobs.runtime.settings import Settings
from jobs.status import Status
from tests.api.conftest import FINDING
from tests.api.shell import url_of
from tests.gantry.command import finish, submit
from tests.gantry.findings import succeed_with_finding


class ClientOfStates(Client):
    """A client that reports a job in the given states, one after the other."""

    def __init__(self, *states: Json) -> None:
        super().__init__("http://127.0.0.1:9")
        self._states = states

    def watch(self, job_id: str, seconds: float | None = None) -> Iterator[Json]:
        yield from self._states

    def best_evaluation(self, job_id: str) -> None:
        return None


def test_a_finding_is_shown_when_it_is_new(served: Settings) -> None:
    job_id = submit(served)
    succeed_with_finding(served, job_id)
    for terminal in (True, False):
        out = io.StringIO()
        with Client(url_of(served)) as client:
            follow(client, job_id, Console(file=out, force_terminal=terminal, width=120))
        assert out.getvalue().count(FINDING["message"]) == 2, "while watching, and at the end"


def test_a_pipe_gets_no_line_twice(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS_PER_LINE", 0.0)
    with Client(url_of(served)) as client:
        job = client.job(submit(served))
    preparing = {**job, "queue": None, "status": "running", "status_reason": {"code": "preparing", "message": "."}}
    further = {**preparing, "progress": {**job["progress"], "step": 3}}
    out = io.StringIO()
    with ClientOfStates(preparing, preparing, preparing, further) as client:
        follow(client, job["id"], Console(file=out, width=120))
    lines = [line for line in out.getvalue().splitlines() if "preparing: step" in line]
    assert [line.split()[2] for line in lines] == ["0", "3"]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["loss_d -0.409  loss_g 2.065", "fcd 257.676    1,294 images/s", "6:02:18 left"]),
        (60, ["loss_d -0.409  loss_g 2.065  fcd 257.676  1,294 images/s", "6:02:18 left"]),
        (80, ["loss_d -0.409  loss_g 2.065  fcd 257.676  1,294 images/s  6:02:18 left"]),
        (120, []),
    ],
)
def test_a_narrow_terminal_gets_the_numbers_below_the_bar(served: Settings, width: int, lines: list[str]) -> None:
    with Client(url_of(served)) as client:
        job = client.job(submit(served))
    state = {**job["progress"], "step": 5, "images_per_second": 1294.0, "eta_seconds": 21738}
    latest = {"loss_d": -0.409, "loss_g": 2.065, "fcd": 257.676}
    running = {**job, "queue": None, "status": "running", "progress": state, "latest_metrics": latest}
    out = io.StringIO()
    with ClientOfStates(running) as client:
        follow(client, job["id"], Console(file=out, force_terminal=True, color_system=None, width=width))
    shown = [line.rstrip() for line in out.getvalue().splitlines()]
    (bar,) = (number for number, line in enumerate(shown) if "running" in line and "50%" in line)
    assert shown[bar].count("━") >= 10 and shown[bar + 1 : bar + 1 + len(lines)] == lines
    if not lines:
        assert shown[bar].endswith("50% loss_d -0.409  loss_g 2.065  fcd 257.676  1,294 images/s  6:02:18 left")


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(served: Settings) -> None:
    job_id = submit(served)
    finish(served, job_id, Status.SUCCEEDED)
    for terminal in (True, False):
        out = io.StringIO()
        with Client(url_of(served)) as client:
            job = follow(client, job_id, Console(file=out, force_terminal=terminal, width=120))
        assert job["status"] == "succeeded"
        assert ("━" in out.getvalue()) == terminal
        assert "loss_d 0.500" in out.getvalue() and "64 images/s" in out.getvalue()
