"""The first page: the live list of jobs, the empty list, and an unreachable service."""

from __future__ import annotations

import pytest
from nicegui import ui

from api.ui.tables import LiveTable
from jobs.status import Status
from tests.api.live_service import Live
from tests.api.ui.conftest import until, visit
from tests.ports import free_port

pytestmark = pytest.mark.anyio


async def test_an_empty_list_links_to_the_form(live: Live) -> None:
    async with visit(live.url, "/") as user:
        await user.should_see("No job yet")
        await user.should_see("Submit the first job")
        await user.should_not_see(ui.table)


async def test_a_job_is_a_row_that_changes_as_it_trains(live: Live) -> None:
    job_id = live.fake_worker.train(name="clothes")
    async with visit(live.url, "/") as user:
        (table,) = user.find(ui.table).elements
        (row,) = table.rows
        assert row["title"] == "clothes" and row["href"] == f"/jobs/{job_id}" and row["status"] == "running"
        assert f"/thumbs/{job_id}" in row["preview"]
        live.fake_worker.progress(job_id, 25, rate=800.0)
        await until(lambda: table.rows[0]["fraction"] == 0.25)
        assert table.rows[0]["progress"] == "25 of 100 steps" and table.rows[0]["rate"] == "800 img/s"


async def test_nothing_is_sent_to_the_browser_while_nothing_changes(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.fake_worker.finish(live.fake_worker.train(), Status.FAILED, {"code": "internal", "message": "x" * 300})
    async with visit(live.url, "/") as user:
        (table,) = user.find(ui.table).elements
        assert isinstance(table, LiveTable)
        before, sent = table.rows, list[int]()
        monkeypatch.setattr(table, "update", lambda: sent.append(1))
        table.show([dict(row) for row in before])
        assert not sent and table.rows is before
        table.show([{**before[0], "progress": "1 of 2"}])
        assert sent


async def test_two_selected_jobs_can_be_compared(live: Live) -> None:
    one, two = live.fake_worker.submit(), live.fake_worker.submit()
    async with visit(live.url, "/") as user:
        (table,) = user.find(ui.table).elements
        assert not next(iter(user.find(kind=ui.button, content="Compare").elements)).enabled
        user.find(ui.table).trigger("selection", {"added": True, "rows": table.rows, "keys": [two, one]})
        user.find(kind=ui.button, content="Compare").click()
        await user.should_see("Samples")


async def test_the_list_has_pages(live: Live) -> None:
    ids = [live.fake_worker.submit() for _ in range(52)]
    async with visit(live.url, "/") as user:
        (table,) = user.find(ui.table).elements
        assert [row["id"] for row in table.rows] == ids[:1:-1]
        user.find(kind=ui.button, content="Older").click()
        await until(lambda: [row["id"] for row in table.rows] == [ids[1], ids[0]])
        await user.should_see("Page 2")
        user.find(kind=ui.button, content="Newer").click()
        await until(lambda: len(table.rows) == 50)
        (status,) = user.find(kind=ui.select, content="Status").elements
        user.find(kind=ui.button, content="Older").click()
        await until(lambda: len(table.rows) == 2)
        status.set_value("paused")
        await user.should_see("No job has this status.")
        status.set_value("queued")
        await until(lambda: len(table.rows) == 50)


async def test_an_unreachable_service_is_named_and_can_be_retried() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with visit(url, "/") as user:
        await user.should_see("The service does not answer")
        await user.should_see(url)
        await user.should_see("Try again")
