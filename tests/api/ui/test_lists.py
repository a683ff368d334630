"""Data sets and workers."""

from __future__ import annotations

import pytest
from nicegui import ui

from tests.api.live_service import Live
from tests.api.ui.conftest import until, visit
from tests.ports import free_port

pytestmark = pytest.mark.anyio


async def test_data_sets_say_what_is_in_them(live: Live) -> None:
    async with visit(live.url, "/datasets") as user:
        (table,) = user.find(ui.table).elements
        mini = next(row for row in table.rows if row["title"] == "fashion-mnist-mini")
        assert mini["images"] == "5,000" and mini["shape"] == "28 × 28, grey" and "Sneaker (500)" in mini["classes"]
        assert mini["href"].startswith("/datasets/ds_")
        await user.should_see("Bring your own images")


async def test_a_data_set_on_its_way_in_says_how_far_it_is_and_one_that_failed_that_it_did(live: Live) -> None:
    live.hand.dataset("shoes", progress={"phase": "checking", "done": 3, "total": 12})
    live.hand.dataset("bags", status="failed", problems=[{"file": None, "code": "c", "detail": "d"}])
    async with visit(live.url, "/datasets") as user:
        (table,) = user.find(ui.table).elements
        said = {row["title"]: (row["status"], row["status_why"], row["images"]) for row in table.rows}
        assert said["shoes"] == ("validating", "Looking at image 3 of 12.", "–")
        assert said["bags"] == ("failed", "1 problem.", "–")
        live.hand.dataset("shoes", status="ready", progress=None)
        await until(lambda: "ready" in {r["status"] for r in table.rows if r["title"] == "shoes"})


async def test_a_worker_is_drained_when_it_is_meant(live: Live) -> None:
    live.hand.worker("wrk_7")
    async with visit(live.url, "/workers") as user:
        (table,) = user.find(ui.table).elements
        assert table.rows[0]["drain"] == "Drain"
        user.find(ui.table).trigger("drain", "wrk_7")
        await user.should_see("Drain wrk_7?")
        user.find("Yes, drain it").click()
        await until(lambda: table.rows[0]["status"] == "draining")
        assert table.rows[0]["drain"] == ""


async def test_without_a_worker_it_says_how_to_start_one(live: Live) -> None:
    async with visit(live.url, "/workers") as user:
        await user.should_see("`gantry worker` starts one")
        live.hand.worker("wrk_7")
        await user.should_see(ui.table)
        (row,) = next(iter(user.find(ui.table).elements)).rows
        assert row["id"] == "wrk_7" and row["devices"] == "cpu" and row["status"] == "idle"


@pytest.mark.parametrize(
    "path", ["/datasets", "/datasets/x", "/datasets/upload", "/workers", "/compare", "/submit", "/jobs/job_1"]
)
async def test_every_page_says_that_the_service_is_away(path: str) -> None:
    async with visit(f"http://127.0.0.1:{free_port()}", path) as user:
        await user.should_see("The service does not answer")
