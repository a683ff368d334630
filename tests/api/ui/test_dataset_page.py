"""The page of a data set: during the check, failed and ready; its contact sheet and its deletion."""

from __future__ import annotations

from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from api.ui.pages.dataset import sheet_request
from tests.api.live_service import Live
from tests.api.ui.conftest import until, visit

pytestmark = pytest.mark.anyio

PROBLEM = {"file": "bag/7.png", "code": "corrupt-image", "detail": "'bag/7.png': it is truncated."}


async def test_a_check_is_followed_until_the_data_set_is_ready(live: Live) -> None:
    row = live.fake_worker.dataset("shoes")
    async with visit(live.url, f"/datasets/{row.id}") as user:
        await user.should_see("It waits for its check.")
        words = "Each image is cropped."
        live.fake_worker.dataset("shoes", preparation={"side": 32, "channels": 3, "words": words})
        live.fake_worker.dataset("shoes", progress={"phase": "preparing", "done": 3, "total": 12})
        await user.should_see("Preparing image 3 of 12.")
        await user.should_see(words)
        assert next(iter(user.find(ui.linear_progress).elements)).value == 0.25
        live.fake_worker.dataset("shoes", status="ready", progress=None)
        await user.should_see("Contact sheet")
        await user.should_see("New job")


async def test_a_failed_data_set_names_every_file_with_its_problem(live: Live) -> None:
    row = live.fake_worker.dataset(
        "shoes", status="failed", problems=[PROBLEM, {**PROBLEM, "file": None, "detail": "Few."}]
    )
    async with visit(live.url, f"/datasets/{row.id}") as user:
        await user.should_see("2 problems.")
        (table,) = user.find(ui.table).elements
        assert [(r["file"], r["detail"]) for r in table.rows] == [
            ("bag/7.png", "it is truncated."),
            ("the archive", "Few."),
        ]
        await user.should_see("Upload it again")
        await user.should_not_see("Contact sheet")


async def test_a_contact_sheet_of_every_class_and_of_one(live: Live) -> None:
    async with visit(live.url, "/datasets/fashion-mnist-mini") as user:
        assert "contact-sheet?n=10&label=0&label=1" in _sheet(user).props["src"]
        assert "Up to 10 images of each of T-shirt/top, Trouser" in _sheet(user).props["alt"]
        (select,) = user.find(kind=ui.select, content="Class").elements
        select.set_value("Bag")
        assert _sheet(user).props["src"].endswith("contact-sheet?n=60&label=8")
        assert _sheet(user).props["alt"] == "Up to 60 of the 500 images of Bag."


async def test_a_contact_sheet_that_fails_shows_the_reason(live: Live) -> None:
    async with visit(live.url, "/datasets/fashion-mnist-mini") as user:
        await user.should_not_see("The images cannot be shown.")
        UserInteraction(user, {_sheet(user)}, None).trigger("error")
        await user.should_see("The images cannot be shown. The sampler cannot be reached")
        (select,) = user.find(kind=ui.select, content="Class").elements
        select.set_value("Bag")
        await user.should_not_see("The images cannot be shown.")


async def test_deletion_needs_a_confirmation_and_no_job_that_uses_the_data_set(live: Live) -> None:
    row = live.fake_worker.dataset(
        "shoes", status="ready", preparation={"side": 16, "channels": 1, "words": "Cropped."}
    )
    job_id = live.fake_worker.submit(dataset="shoes", conditioning={"kind": "none"})
    async with visit(live.url, f"/datasets/{row.id}") as user:
        user.find(kind=ui.button, content="Delete").click()
        await user.should_see("This cannot be undone")
        user.find("Yes, delete it").click()
        await until(lambda: user.notify.contains("is used by"))
        live.http.post(f"/v1/jobs/{job_id}/cancel")
        assert live.http.delete(f"/v1/jobs/{job_id}").status_code == 204
        user.find(kind=ui.button, content="Delete").click()
        await user.should_see("Yes, delete it")
        user.find("Yes, delete it").click()
        await user.should_see("Upload your own images")
    assert live.http.get("/v1/datasets/shoes").status_code == 404


async def test_a_built_in_data_set_cannot_be_deleted(live: Live) -> None:
    async with visit(live.url, "/datasets/fashion-mnist-mini") as user:
        await user.should_see("Included in Gantry")
        await user.should_not_see(kind=ui.button, content="Delete")


def test_a_sheet_of_very_many_classes_shows_the_first() -> None:
    found: Any = {"classes": [{"id": i, "label": f"c{i}", "count": 9} for i in range(90)]}
    shown, each, description = sheet_request(found, None)
    assert shown == list(range(20)) and each == 10 and "all 90 classes" in description
    assert sheet_request({"classes": []}, None) == ([], 60, "Up to 60 images of this data set.")
    assert sheet_request(found, "c7") == ([7], 9, "Up to 9 of the 9 images of c7.")


def _sheet(user: User) -> ui.element:
    return next(e for e in user.find(ui.element).elements if e.tag == "img")
