"""The lists of data sets and of workers."""

from __future__ import annotations

import pytest
from nicegui import ui

from tests.api.live_service import Live
from tests.api.ui.conftest import until, visit
from tests.ports import free_port

pytestmark = pytest.mark.anyio


async def test_data_sets_show_their_content(live: Live) -> None:
    async with visit(live.url, "/datasets") as user:
        (table,) = user.find(ui.table).elements
        mini = next(row for row in table.rows if row["title"] == "fashion-mnist-mini")
        assert mini["images"] == "5,000" and mini["shape"] == "28 × 28, grey" and "Sneaker (500)" in mini["classes"]
        assert mini["href"].startswith("/datasets/ds_")
        await user.should_see("Upload your own images")


async def test_checks_show_their_progress_and_failed_data_sets_their_problems(live: Live) -> None:
    live.fake_worker.dataset("shoes", progress={"phase": "checking", "done": 3, "total": 12})
    live.fake_worker.dataset("bags", status="failed", problems=[{"file": None, "code": "c", "detail": "d"}])
    async with visit(live.url, "/datasets") as user:
        (table,) = user.find(ui.table).elements
        rows = {row["title"]: (row["status"], row["status_why"], row["images"]) for row in table.rows}
        assert rows["shoes"] == ("validating", "Checking image 3 of 12.", "–")
        assert rows["bags"] == ("failed", "1 problem.", "–")
        live.fake_worker.dataset("shoes", status="ready", progress=None)
        await until(lambda: "ready" in {r["status"] for r in table.rows if r["title"] == "shoes"})


async def test_draining_a_worker_needs_a_confirmation(live: Live) -> None:
    live.fake_worker.worker("wrk_7")
    async with visit(live.url, "/workers") as user:
        (table,) = user.find(ui.table).elements
        assert table.rows[0]["drain"] == "Drain"
        user.find(ui.table).trigger("drain", "wrk_7")
        await user.should_see("Drain wrk_7?")
        user.find("Yes, drain it").click()
        await until(lambda: table.rows[0]["status"] == "draining")
        assert table.rows[0]["drain"] == ""


async def test_an_empty_list_says_how_to_start_a_worker(live: Live) -> None:
    async with visit(live.url, "/workers") as user:
        await user.should_see("`gantry worker` starts one")
        live.fake_worker.worker("wrk_7")
        await user.should_see(ui.table)
        (row,) = next(iter(user.find(ui.table).elements)).rows
        assert row["id"] == "wrk_7" and row["devices"] == "cpu" and row["status"] == "idle"


@pytest.mark.parametrize(
    "path", ["/datasets", "/datasets/x", "/datasets/upload", "/workers", "/compare", "/submit", "/jobs/job_1"]
)
async def test_every_page_reports_an_unreachable_service(path: str) -> None:
    async with visit(f"http://127.0.0.1:{free_port()}", path) as user:
        await user.should_see("The service does not answer")
