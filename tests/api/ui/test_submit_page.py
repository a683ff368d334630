"""The form of a new job: its cost is shown before submission, and each problem at its field."""

from __future__ import annotations

from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from jobs.models import DEFAULT_TENANT
from jobs.store.callers import tenants
from tests.api.live_service import Live
from tests.api.ui.conftest import estimate, until, visit

pytestmark = pytest.mark.anyio

_GOOD = "Ready to submit."


async def test_the_cost_is_shown_before_submission(live: Live) -> None:
    estimate(live)
    async with visit(live.url, "/submit") as user:
        await user.should_see(_GOOD)
        await user.should_see("1,234,567")
        await user.should_see("3.0 MB")
        assert live.http.get("/v1/jobs").json()["data"] == []
        _field(user, ui.number, "Steps (total_steps)").set_value(250.0)
        _field(user, ui.input, "Name (optional)").set_value("clothes")
        _field(user, ui.textarea, "Other fields").set_value("optimizers.g.beta1=0.25\nbatch_size=32")
        await user.should_see('"batch_size": 32')
        user.find(kind=ui.button, content="Submit").click()
        await user.should_see("0 of 250 steps")
    (job,) = live.http.get("/v1/jobs").json()["data"]
    assert job["name"] == "clothes" and job["spec"]["batch_size"] == 32
    assert job["spec"]["optimizers"]["g"]["beta1"] == 0.25


async def test_a_problem_is_shown_at_its_field_and_blocks_submission(live: Live) -> None:
    estimate(live)
    async with visit(live.url, "/submit") as user:
        await user.should_see(_GOOD)
        steps = _field(user, ui.number, "Steps (total_steps)")
        other = _field(user, ui.textarea, "Other fields")
        steps.set_value(-5.0)
        other.set_value("optimizers.g.beta1=2")
        await user.should_see("Not ready to submit: 2 problems.")
        assert steps.error and other.error and "optimizers.g.beta1" in other.error
        assert not next(iter(user.find(kind=ui.button, content="Submit").elements)).enabled
        steps.set_value(100.0)
        other.set_value("")
        await user.should_see(_GOOD)
        assert steps.error is None and other.error is None


async def test_a_submission_before_the_next_check_is_checked_first(live: Live) -> None:
    estimate(live)
    async with visit(live.url, "/submit") as user:
        await user.should_see(_GOOD)
        _field(user, ui.number, "Steps (total_steps)").set_value(-5.0)
        user.find(kind=ui.button, content="Submit").click()
        await user.should_see("Not ready to submit: 1 problem.")
        _field(user, ui.number, "Steps (total_steps)").set_value(50.0)
        await user.should_see(_GOOD)
        _field(user, ui.input, "Name (optional)").set_value("quick")
        user.find(kind=ui.button, content="Submit").click()
        await user.should_see("0 of 50 steps")
    (job,) = live.http.get("/v1/jobs").json()["data"]
    assert job["name"] == "quick"


async def test_a_submission_can_be_retried_after_a_full_queue(live: Live) -> None:
    estimate(live)
    with live.fake_worker.db.write() as s:
        tenants.set_quotas(s, DEFAULT_TENANT, {"max_queued": 1})
    waiting = live.fake_worker.submit()
    async with visit(live.url, "/submit") as user:
        await user.should_see(_GOOD)
        user.find(kind=ui.button, content="Submit").click()
        await until(lambda: user.notify.contains("1 of 1 jobs already wait"))
        live.http.post(f"/v1/jobs/{waiting}/cancel").raise_for_status()
        user.find(kind=ui.button, content="Submit").click()
        await user.should_see("Position 1 in the queue.")


async def test_every_field_can_be_set_and_shows_its_current_value(live: Live) -> None:
    estimate(live)
    async with visit(live.url, "/submit?preset=wgan-gp") as user:
        await user.should_see(_GOOD)
        part = next(e for e in user.find(ui.expansion).elements if e.text == "optimizers.g")
        part.set_value(True)
        beta = _field(user, ui.number, "beta1")
        assert beta.props["hint"].startswith("Current value: 0. adam: decay rate of the mean")
        beta.set_value(7.0)
        await user.should_see("Not ready to submit: 1 problem.")
        assert beta.error
        beta.set_value(0.25)
        await user.should_see('"beta1": 0.25')
        assert beta.error is None
        beta.set_value(None)
        await user.should_not_see('"beta1": 0.25')


async def test_a_data_set_can_be_chosen_by_id(live: Live) -> None:
    dataset_id = live.http.get("/v1/datasets/fashion-mnist").json()["id"]
    async with visit(live.url, f"/submit?dataset={dataset_id}") as user:
        await user.should_see("New job")
        assert _field(user, ui.select, "Data set").value == "fashion-mnist"


async def test_an_invalid_line_is_reported_without_a_request(live: Live) -> None:
    async with visit(live.url, "/submit") as user:
        other = _field(user, ui.textarea, "Other fields")
        other.set_value("nonsense")
        await user.should_see("There is a mistake in the other fields.")
        assert other.error and "'nonsense'" in other.error


async def test_without_the_sampler_a_job_can_still_be_submitted(live: Live) -> None:
    async with visit(live.url, "/submit") as user:
        await user.should_see("You can submit the job anyway.")
        user.find(kind=ui.button, content="Submit").click()
        await user.should_see("Draw samples")
    assert len(live.http.get("/v1/jobs").json()["data"]) == 1


def _field(user: User, kind: type[Any], label: str) -> Any:
    return next(field for field in user.find(kind).elements if field.props["label"] == label)
