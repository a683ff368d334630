"""A job's page: what it shows of a job in each state, what may be asked there, and samples drawn on the spot."""

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


async def test_a_job_that_waits_says_what_there_is_not_yet(live: Live) -> None:
    job_id = live.hand.submit(name="clothes")
    async with visit(live.url, f"/jobs/{job_id}") as user:
        for sentence in (
            "No step yet",
            "No evaluation yet",
            "No preview yet",
            "No checkpoint yet",
            "Nobody has looked",
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
    job_id = live.hand.train()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("0 of 100 steps")
        live.hand.progress(job_id, 40, loss_d=0.5)
        await user.should_see("40 of 100 steps")
        live.hand.checkpoint(job_id, 40, best=True)
        await user.should_see("Draw samples")
        await user.should_not_see("No checkpoint yet")


async def test_a_remedy_leads_to_the_form_filled_in(live: Live) -> None:
    job_id = _trained(live)
    estimate(live)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("D is so sure that G gets no gradient.")
        user.find("New job with this remedy").click()
        await user.should_see(f"The whole spec of {job_id}, with the remedy of vanishing_gradients")
        await user.should_see("It can be submitted as it is.")


async def test_a_job_is_cancelled_only_when_it_is_meant(live: Live) -> None:
    job_id = live.hand.submit()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Cancel").click()
        await user.should_see("It ends for good")
        user.find("Keep it").click()
        await asyncio.sleep(0.2)
        assert _status(live, job_id) == "queued"
        user.find(kind=ui.button, content="Cancel").click()
        await user.should_see("Yes, cancel it")
        user.find("Yes, cancel it").click()
        await user.should_see(kind=ui.button, content="Retry")
        assert _status(live, job_id) == "cancelled"


async def test_a_job_is_paused_and_resumed(live: Live) -> None:
    job_id = live.hand.submit()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Pause").click()
        await user.should_see(kind=ui.button, content="Resume")
        assert _status(live, job_id) == "paused"
        user.find(kind=ui.button, content="Resume").click()
        await user.should_see(kind=ui.button, content="Pause")
        assert _status(live, job_id) == "queued"


async def test_a_failed_job_says_why_and_a_retry_opens_the_new_one(live: Live) -> None:
    job_id = live.hand.train()
    error = {"code": "diverged", "message": "D won.", "retryable": False, "step": 10, "hint": "Slow it down."}
    live.hand.finish(job_id, Status.FAILED, error)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("diverged at step 10: D won. Slow it down.")
        user.find(kind=ui.button, content="Retry").click()
        await user.should_see("The job it retries")


async def test_samples_of_one_class_are_drawn_on_the_spot(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = _trained(live)
    asked: list[dict[str, Any]] = []

    def drawn(self: Client, job_id: str, **query: Any) -> bytes:
        asked.append(query)
        return b"png"

    monkeypatch.setattr(Client, "samples", drawn)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        (picked,) = user.find(kind=ui.select, content="Class").elements
        assert "Sneaker" in picked.options
        picked.set_value("Sneaker")
        user.find(kind=ui.button, content="Draw").click()
        await user.should_see("8 images of Sneaker, seed 0, checkpoint best, else last")
        await user.should_see("Download as zip")
    assert asked == [{"labels": ["Sneaker"], "n": 8, "seed": 0, "checkpoint": None}]


async def test_a_sampler_that_is_away_is_said_where_the_images_would_be(live: Live) -> None:
    job_id = _trained(live)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Draw").click()
        await user.should_see("sampler")


@pytest.mark.parametrize("wish", ["cancel", "pause"])
async def test_a_job_that_was_told_to_stop_says_so_to_whoever_comes(live: Live, wish: str) -> None:
    job_id = live.hand.train()
    live.http.post(f"/v1/jobs/{job_id}/{wish}").raise_for_status()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("; it saves a checkpoint first.")
        await user.should_not_see(kind=ui.button, content="Save a checkpoint")


async def test_a_running_job_saves_a_checkpoint_on_request(live: Live) -> None:
    job_id = live.hand.train()
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Save a checkpoint").click()
        await until(lambda: user.notify.contains("It was told; the checkpoint is in the list within seconds."))
    with live.hand.db.read() as s:
        assert jobs.get(s, job_id).checkpoint_requested_at is not None


async def test_a_job_that_has_ended_is_deleted_when_it_is_meant(live: Live) -> None:
    job_id = live.hand.train()
    live.hand.finish(job_id, Status.SUCCEEDED)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_not_see(kind=ui.button, content="Save a checkpoint")
        user.find(kind=ui.button, content="Delete").click()
        await user.should_see("go with it, for good")
        user.find("Yes, delete it").click()
        await user.should_see("No job yet")
    assert live.http.get(f"/v1/jobs/{job_id}").status_code == 404


async def test_a_retry_may_begin_from_scratch(live: Live) -> None:
    job_id = _trained(live)
    live.hand.finish(job_id, Status.CANCELLED)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        user.find(kind=ui.button, content="Retry from scratch").click()
        await user.should_see("The job it retries")
    (new, _) = live.http.get("/v1/jobs").json()["data"]
    assert new["retry_of"] == job_id and new["last_checkpoint_id"] is None


async def test_the_previews_are_a_film(live: Live) -> None:
    job_id = live.hand.train()
    for step in (0, 20, 40):
        live.hand.preview(job_id, step, step)
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
    first = live.hand.checkpoint(job_id, 80)
    async with visit(live.url, f"/jobs/{job_id}") as user:
        (picked,) = user.find(kind=ui.select, content="Checkpoint").elements
        assert isinstance(picked.options, dict) and list(picked.options.values()) == [
            "best, else last",
            "best",
            "last",
            "step 80",
            "step 60",
        ]
        second = live.hand.checkpoint(job_id, 90)
        picked.set_value(first.id)
        await until(lambda: second.id in picked.options)
        assert picked.value == first.id


async def test_a_service_that_goes_away_is_told_and_the_last_word_stays(live: Live) -> None:
    job_id = live.hand.train(name="clothes")
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("clothes")
        live.stop()
        await user.should_see("does not answer; what you see is the last it said")
        await user.should_see("clothes")


def _trained(live: Live) -> str:
    """A job of 60 steps with curves, a finding and a checkpoint."""
    job_id = live.hand.train()
    curve = np.column_stack([np.linspace(1, 0.01, 60), np.linspace(1, 3, 60), np.linspace(0.5, 1, 60)])
    live.hand.curve(job_id, curve, "loss_d", "loss_g", "d_accuracy")
    live.hand.progress(job_id, 60, loss_d=0.01)
    live.hand.find(job_id, "failing", FINDING)
    live.hand.checkpoint(job_id, 60, best=True)
    return job_id


def _charts(user: User) -> list[ui.echart]:
    try:
        return list(user.find(ui.echart).elements)
    except AssertionError:
        return []


def _status(live: Live, job_id: str) -> str:
    status: str = live.http.get(f"/v1/jobs/{job_id}").json()["status"]
    return status
