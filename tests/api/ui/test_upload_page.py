"""The upload page: the description of the preparation, the progress of an upload and its result."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from tests.api.live_service import Live
from tests.api.ui.conftest import visit

pytestmark = pytest.mark.anyio


async def test_the_preparation_is_described_before_the_upload(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        await user.should_see("cropped to its central square")
        await user.should_see("one folder for each class")
        await user.should_not_see("The upload was refused")


async def test_without_a_file_nothing_is_sent(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        _send_event(user, missing=True)
        await user.should_see("Choose a zip file first.")


async def test_progress_is_shown(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        user.find(kind=ui.button, content="Upload").click()
        _send_event(user, sent=250_000, total=1_000_000)
        await user.should_see("250 kB of 1.0 MB sent.")
        (bar,) = user.find(ui.linear_progress).elements
        assert bar.value == 0.25
        _send_event(user, sent=1_000_000, total=1_000_000)
        await user.should_see("The service checks the archive.")


async def test_every_problem_of_a_refused_upload_is_shown(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        errors = [{"pointer": "/file", "code": "c", "detail": f"Reason {i}."} for i in range(2)]
        _send_event(user, status=422, body=json.dumps({"detail": "Both.", "errors": errors}))
        await user.should_see("The upload was refused")
        (table,) = user.find(ui.table).elements
        assert [row["detail"] for row in table.rows] == ["Reason 0.", "Reason 1."]
        user.find(kind=ui.button, content="Upload").click()
        await user.should_not_see("The upload was refused")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (409, '{"detail": "There is a data set already."}', "There is a data set already."),
        (502, "The service does not answer.", "The upload was interrupted."),
        (0, "", "The upload was interrupted."),
    ],
)
async def test_other_errors_are_shown(live: Live, status: int, body: str, message: str) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        _send_event(user, status=status, body=body)
        await user.should_see(message)
        await user.should_not_see("The upload was refused")


async def test_an_accepted_data_set_is_opened(live: Live) -> None:
    dataset_id = live.fake_worker.dataset("shoes").id
    async with visit(live.url, "/datasets/upload") as user:
        _send_event(user, status=201, body=json.dumps({"id": dataset_id}))
        await user.should_see("It waits for its check.")


def _send_event(user: User, **data: Any) -> None:
    """Send an event of the upload script in the browser."""
    assert user.client is not None
    UserInteraction(user, {user.client.layout}, None).trigger("gantry_upload", data)
