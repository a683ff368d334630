"""Bringing images: what is done to them is said first, how far an upload is, and what came of it."""

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


async def test_what_is_done_to_the_images_is_said_before(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        await user.should_see("cropped to its central square")
        await user.should_see("a folder a class")
        await user.should_not_see("It was refused")


async def test_without_a_file_nothing_is_sent(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        _hear(user, missing=True)
        await user.should_see("Choose a zip first.")


async def test_how_far_it_is(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        user.find(kind=ui.button, content="Upload").click()
        _hear(user, sent=250_000, total=1_000_000)
        await user.should_see("250 kB of 1.0 MB sent.")
        (bar,) = user.find(ui.linear_progress).elements
        assert bar.value == 0.25
        _hear(user, sent=1_000_000, total=1_000_000)
        await user.should_see("Its directory is looked at.")


async def test_every_reason_of_a_refusal_is_told(live: Live) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        errors = [{"pointer": "/file", "code": "c", "detail": f"Reason {i}."} for i in range(2)]
        _hear(user, status=422, body=json.dumps({"detail": "Both.", "errors": errors}))
        await user.should_see("It was refused")
        (table,) = user.find(ui.table).elements
        assert [row["detail"] for row in table.rows] == ["Reason 0.", "Reason 1."]
        user.find(kind=ui.button, content="Upload").click()
        await user.should_not_see("It was refused")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (409, '{"detail": "There is a data set already."}', "There is a data set already."),
        (502, "The service does not answer.", "The upload broke off."),
        (0, "", "The upload broke off."),
    ],
)
async def test_what_else_went_wrong_is_told(live: Live, status: int, body: str, said: str) -> None:
    async with visit(live.url, "/datasets/upload") as user:
        _hear(user, status=status, body=body)
        await user.should_see(said)
        await user.should_not_see("It was refused")


async def test_a_data_set_that_was_taken_is_shown(live: Live) -> None:
    dataset_id = live.hand.dataset("shoes").id
    async with visit(live.url, "/datasets/upload") as user:
        _hear(user, status=201, body=json.dumps({"id": dataset_id}))
        await user.should_see("It waits until it is looked at.")


def _hear(user: User, **said: Any) -> None:
    """What the browser tells of the upload."""
    assert user.client is not None
    UserInteraction(user, {user.client.layout}, None).trigger("gantry_upload", said)
