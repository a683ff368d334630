"""The comparison of jobs: one curve of each on one chart, and the same sample request to each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nicegui import ui

from gantry.client import Client
from jobs.status import Status
from tests.api.live_service import Live
from tests.api.ui.conftest import until, visit

pytestmark = pytest.mark.anyio


async def test_one_job_is_not_enough(live: Live) -> None:
    live.fake_worker.submit()
    async with visit(live.url, "/compare") as user:
        await user.should_see("A comparison needs at least two jobs.")


async def test_two_jobs_must_be_selected(live: Live) -> None:
    live.fake_worker.submit()
    live.fake_worker.submit()
    async with visit(live.url, "/compare") as user:
        await user.should_see("Select two or more jobs.")


async def test_each_job_is_a_line_on_one_chart(live: Live) -> None:
    ids = [_trained(live, "one", 2.0), _trained(live, "two", 3.0)]
    async with visit(live.url, f"/compare?jobs={','.join(ids)}") as user:
        (chart,) = user.find(ui.echart).elements
        assert [(line["name"][:3], line["data"][0][1]) for line in chart.options["series"]] == [
            ("one", 2),
            ("two", 3),
        ]
        (curve,) = user.find(kind=ui.select, content="Curve").elements
        curve.set_value("d_accuracy")
        await user.should_see("None of these jobs has this curve yet.")


async def test_progress_of_each_job_is_updated(live: Live) -> None:
    ids = [_trained(live, "one", 2.0), _trained(live, "two", 3.0)]
    async with visit(live.url, f"/compare?jobs={','.join(ids)}") as user:
        await user.should_see("20 of 100 steps, running")
        live.fake_worker.progress(ids[0], 40)
        await user.should_see("40 of 100 steps, running")
        live.fake_worker.finish(ids[1], Status.SUCCEEDED)
        await user.should_see("20 of 100 steps, succeeded")


async def test_the_same_sample_request_goes_to_each_job(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [_trained(live, "one", 2.0), _trained(live, "two", 3.0)]
    requests: list[tuple[str, Any]] = []

    def drawn(self: Client, job_id: str, **query: Any) -> bytes:
        requests.append((job_id, query["labels"]))
        return b"png"

    monkeypatch.setattr(Client, "samples", drawn)
    async with visit(live.url, f"/compare?jobs={','.join(ids)}") as user:
        (select,) = user.find(kind=ui.select, content="Class").elements
        select.set_value("Bag")
        user.find("Draw from each").click()
        await until(lambda: len(requests) == 2)
    assert sorted(requests) == sorted((job_id, ["Bag"]) for job_id in ids)


def _trained(live: Live, name: str, loss: float) -> str:
    job_id = live.fake_worker.train(name=name)
    live.fake_worker.curve(job_id, np.full((20, 1), loss), "loss_g")
    live.fake_worker.progress(job_id, 20)
    return job_id
