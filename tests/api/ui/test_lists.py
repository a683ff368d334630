"""Data sets and workers."""

from __future__ import annotations

import pytest
from nicegui import ui

from api.up import free_port
from tests.api.live import Live
from tests.api.ui.conftest import visit

pytestmark = pytest.mark.anyio


async def test_data_sets_say_what_is_in_them(live: Live) -> None:
    async with visit(live.url, "/datasets") as user:
        (table,) = user.find(ui.table).elements
        mini = next(row for row in table.rows if row["name"] == "fashion-mnist-mini")
        assert mini["images"] == "5,000" and mini["shape"] == "28 × 28, grey" and "Sneaker (500)" in mini["classes"]
        await user.should_see("New job on fashion-mnist-mini")


async def test_without_a_worker_it_says_how_to_start_one(live: Live) -> None:
    async with visit(live.url, "/workers") as user:
        await user.should_see("`gantry worker` starts one")
        live.hand.worker("wrk_7")
        await user.should_see(ui.table, retries=50)
        (row,) = next(iter(user.find(ui.table).elements)).rows
        assert row["id"] == "wrk_7" and row["devices"] == "cpu" and row["status"] == "idle"


@pytest.mark.parametrize("path", ["/datasets", "/workers", "/compare", "/submit", "/jobs/job_1"])
async def test_every_page_says_that_the_service_is_away(path: str) -> None:
    async with visit(f"http://127.0.0.1:{free_port()}", path) as user:
        await user.should_see("The service does not answer")
