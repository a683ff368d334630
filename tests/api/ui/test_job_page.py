"""The page of a job: its content in each state, its actions, and samples on request."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from gantry.client import Client
from jobs.status import Status
from jobs.store import jobs
from tests.api.conftest import FINDING
from tests.api.live_service import Live
from tests.api.ui.conftest import estimate, until, visit

pytestmark = pytest.mark.anyio


async def test_a_queued_job_shows_what_is_still_missing(live: Live) -> None:
    job_id = live.fake_worker.submit(name="clothes")
    async with visit(live.url, f"/jobs/{job_id}") as user:
        for sentence in (
            "No step yet",
            "No evaluation yet",
            "No preview yet",
            "No checkpoint yet",
            "No check has run yet",
        ):
            await user.should_see(sentence)
        await user.should_see("No worker is running")
        assert _charts(user) == []


async def test_curves_mark_findings_and_can_be_logarithmic(live: Live) -> None:
    job_id = _trained(live)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        (chart,) = _charts(user)
        assert [line["name"] for line in chart.options["series"]] == ["D loss", "G loss", "D accuracy"]
        assert chart.options["series"][0]["markLine"]["data"][0]["xAxis"] == 10
        assert "D loss: 1 at step 1" in chart.props["aria-label"]
        assert chart.options["yAxis"][0]["type"] == "value"
        user.find("Log scale").click()
        assert chart.options["yAxis"][0]["type"] == "log"


async def test_the_page_follows_the_job(live: Live) -> None:
    job_id = live.fake_worker.train()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("0 of 100 steps")
        live.fake_worker.progress(job_id, 40, loss_d=0.5)
        await user.should_see("40 of 100 steps")
        live.fake_worker.checkpoint(job_id, 40, best=True)
        await user.should_see("Draw samples")
        await user.should_not_see("No checkpoint yet")


async def test_a_remedy_leads_to_the_form_filled_in(live: Live) -> None:
    job_id = _trained(live)
    estimate(live)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("D is so sure that G gets no gradient.")
        user.find("New job with this remedy").click()
        await user.should_see(
            f"This form starts from the full spec of {job_id}, with the remedy for vanishing_gradients"
        )
        await user.should_see("Ready to submit.")


async def test_a_cancellation_needs_a_confirmation(live: Live) -> None:
    job_id = live.fake_worker.submit()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Cancel").click()
        await user.should_see("It cannot be resumed")
        user.find("No, go back").click()
        await asyncio.sleep(0.2)
        assert _status(live, job_id) == "queued"
        user.find(kind=ui.button, content="Cancel").click()
        await user.should_see("Yes, cancel it")
        user.find("Yes, cancel it").click()
        await user.should_see(kind=ui.button, content="Retry")
        assert _status(live, job_id) == "cancelled"


async def test_a_job_is_paused_and_resumed(live: Live) -> None:
    job_id = live.fake_worker.submit()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Pause").click()
        await user.should_see(kind=ui.button, content="Resume")
        assert _status(live, job_id) == "paused"
        user.find(kind=ui.button, content="Resume").click()
        await user.should_see(kind=ui.button, content="Pause")
        assert _status(live, job_id) == "queued"


async def test_a_failed_job_says_why_and_a_retry_opens_the_new_one(live: Live) -> None:
    job_id = live.fake_worker.train()
    error = {"code": "diverged", "message": "D won.", "retryable": False, "step": 10, "hint": "Slow it down."}
    live.fake_worker.finish(job_id, Status.FAILED, error)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("diverged at step 10: D won. Slow it down.")
        user.find(kind=ui.button, content="Retry").click()
        await user.should_see("The job that this one retries")


async def test_samples_of_one_class_are_drawn_on_request(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = _trained(live)
    requests: list[dict[str, Any]] = []

    def drawn(self: Client, job_id: str, **query: Any) -> bytes:
        requests.append(query)
        return b"png"

    monkeypatch.setattr(Client, "samples", drawn)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        (select,) = user.find(kind=ui.select, content="Class").elements
        assert "Sneaker" in select.options
        select.set_value("Sneaker")
        user.find(kind=ui.button, content="Draw").click()
        await user.should_see("8 images of Sneaker, seed 0, checkpoint best, else last")
        await user.should_see("Download as zip")
    assert requests == [{"labels": ["Sneaker"], "n": 8, "seed": 0, "checkpoint": None}]


async def test_an_unreachable_sampler_is_reported_in_place_of_the_images(live: Live) -> None:
    job_id = _trained(live)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Draw").click()
        await user.should_see("sampler")


@pytest.mark.parametrize("action", ["cancel", "pause"])
async def test_a_job_that_is_stopping_shows_so(live: Live, action: str) -> None:
    job_id = live.fake_worker.train()
    live.http.post(f"/v1/jobs/{job_id}/{action}").raise_for_status()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("; it saves a checkpoint first.")
        await user.should_not_see(kind=ui.button, content="Save a checkpoint")


async def test_a_running_job_saves_a_checkpoint_on_request(live: Live) -> None:
    job_id = live.fake_worker.train()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Save a checkpoint").click()
        await until(
            lambda: user.notify.contains("Request accepted. The checkpoint appears in the list within seconds.")
        )
    with live.fake_worker.db.read() as s:
        assert jobs.get(s, job_id).checkpoint_requested_at is not None


async def test_the_deletion_of_an_ended_job_needs_a_confirmation(live: Live) -> None:
    job_id = live.fake_worker.train()
    live.fake_worker.finish(job_id, Status.SUCCEEDED)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_not_see(kind=ui.button, content="Save a checkpoint")
        user.find(kind=ui.button, content="Delete").click()
        await user.should_see("This cannot be undone")
        user.find("Yes, delete it").click()
        await user.should_see("No job yet")
    assert live.http.get(f"/v1/jobs/{job_id}").status_code == 404


async def test_a_retry_may_begin_from_scratch(live: Live) -> None:
    job_id = _trained(live)
    live.fake_worker.finish(job_id, Status.CANCELLED)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Retry from scratch").click()
        await user.should_see("The job that this one retries")
    (new, _) = live.http.get("/v1/jobs").json()["data"]
    assert new["retry_of"] == job_id and new["last_checkpoint_id"] is None


async def test_the_previews_play_as_an_animation(live: Live) -> None:
    job_id = live.fake_worker.train()
    for step in (0, 20, 40):
        live.fake_worker.preview(job_id, step, step)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("Preview at step 40")
        (play,) = [b for b in user.find(ui.button).elements if b.props.get("aria-label") == "Play"]
        UserInteraction(user, {play}, None).click()
        await user.should_see("Preview at step 0")
        await user.should_see("Preview at step 20")
        await user.should_see("Preview at step 40")
        await until(lambda: play.props["aria-label"] == "Play")


async def test_samples_may_be_drawn_from_any_checkpoint(live: Live) -> None:
    job_id = _trained(live)
    first = live.fake_worker.checkpoint(job_id, 80)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        (select,) = user.find(kind=ui.select, content="Checkpoint").elements
        assert isinstance(select.options, dict) and list(select.options.values()) == [
            "best, else last",
            "best",
            "last",
            "step 80",
            "step 60",
        ]
        second = live.fake_worker.checkpoint(job_id, 90)
        select.set_value(first.id)
        await until(lambda: second.id in select.options)
        assert select.value == first.id


async def test_an_unreachable_service_is_reported_and_the_last_state_stays(live: Live) -> None:
    job_id = live.fake_worker.train(name="clothes")
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("clothes")
        live.stop()
        await user.should_see("does not answer. This page shows the last known state")
        await user.should_see("clothes")


def _trained(live: Live) -> str:
    """Add a job with 60 finished steps, curves, a finding and a checkpoint, and return its id."""
    job_id = live.fake_worker.train()
    curve = np.column_stack([np.linspace(1, 0.01, 60), np.linspace(1, 3, 60), np.linspace(0.5, 1, 60)])
    live.fake_worker.curve(job_id, curve, "loss_d", "loss_g", "d_accuracy")
    live.fake_worker.progress(job_id, 60, loss_d=0.01)
    live.fake_worker.find(job_id, "failing", FINDING)
    live.fake_worker.checkpoint(job_id, 60, best=True)
    return job_id


def _charts(user: User) -> list[ui.echart]:
    try:
        return list(user.find(ui.echart).elements)
    except AssertionError:
        return []


def _status(live: Live, job_id: str) -> str:
    status: str = live.http.get(f"/v1/jobs/{job_id}").json()["status"]
    return status
