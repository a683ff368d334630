"""`gantry webhooks` against a real server and a real relay."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.runtime import process
from jobs.runtime.settings import Settings
from tests.api.live_service import until
from tests.api.shell import service
from tests.gantry.command import gantry, submit
from tests.jobs.relay.webhooks.receiver import receiving


@pytest.fixture(scope="module")
def notifying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yield a service with webhooks and its relay. All tests of this file share them."""
    on = {"webhooks": True, "webhook_allow_private": True}
    folder = tmp_path_factory.mktemp("notifying")
    with service(folder, **on) as settings, (folder / "relay.log").open("wb") as log:
        argv = [sys.executable, "-m", "jobs.relay"]
        relay = process.spawn(argv, env={**os.environ, **settings.environment()}, stdout=log, stderr=log)
        try:
            # Before this line is logged, the relay does not handle the signal that stops it.
            until(lambda: "relay started" in (folder / "relay.log").read_text())
            yield settings
        finally:
            assert process.end(relay, 60) == 0


def test_a_webhook_is_added_tested_listed_and_deleted(notifying: Settings) -> None:
    with receiving() as receiver:
        done = gantry("webhooks", "add", receiver.url, "--event", "job.status", settings=notifying)
        assert done.returncode == 0 and "shown only once: whsec_" in done.stdout, done.stderr
        hook = done.stdout.split()[0]
        done = gantry("webhooks", "test", hook, settings=notifying)
        assert done.returncode == 0 and "is delivered: attempt 1: 200 after" in done.stdout, done.stderr
        submit(notifying)
        listed = gantry("webhooks", "list", settings=notifying).stdout
        assert hook in listed and "enabled" in listed and receiver.url in listed and "whsec" not in listed
        deliveries = json.loads(gantry("webhooks", "deliveries", hook, "--json", settings=notifying).stdout)["data"]
        assert [row["type"] for row in deliveries] == ["job.status", "webhook.test"]
        done = gantry("webhooks", "redeliver", hook, deliveries[-1]["id"], settings=notifying)
        assert done.stdout == f"{deliveries[-1]['id']} is sent again.\n"
        assert deliveries[-1]["id"] in gantry("webhooks", "deliveries", hook, settings=notifying).stdout
    done = gantry("webhooks", "change", hook, "--disable", "--event", "health.finding", settings=notifying)
    assert done.stdout == f"{hook} is disabled and receives health.finding.\n"
    refused = gantry("webhooks", "test", hook, settings=notifying)
    assert refused.returncode == 1 and "Enable it first" in refused.stderr
    assert gantry("webhooks", "delete", hook, settings=notifying).stdout == f"{hook} is deleted.\n"
    gone = gantry("webhooks", "delete", hook, settings=notifying)
    assert gone.returncode == 1 and "There is no webhook" in gone.stderr


def test_results_are_json_where_json_is_requested(notifying: Settings) -> None:
    def result(*words: str) -> dict[str, Any]:
        done = gantry("webhooks", *words, "--json", settings=notifying)
        assert done.returncode == 0, done.stderr
        parsed: dict[str, Any] = json.loads(done.stdout)
        return parsed

    with receiving() as receiver:
        hook = result("add", receiver.url)["id"]
        delivery = result("test", hook)
        assert (delivery["type"], delivery["state"]) == ("webhook.test", "delivered")
        assert result("redeliver", hook, delivery["id"])["id"] == delivery["id"]
    changed = result("change", hook, "--disable")
    assert changed["id"] == hook and not changed["enabled"] and "secret" not in changed
    assert result("delete", hook) == {"deleted": hook}


def test_a_test_that_is_refused_is_exit_1_with_the_reason(notifying: Settings) -> None:
    with receiving(302) as receiver:
        made = json.loads(gantry("webhooks", "add", receiver.url, "--json", settings=notifying).stdout)
        done = gantry("webhooks", "test", made["id"], settings=notifying)
    assert done.returncode == 1 and "302" in done.stdout and "redirect, which is not followed" in done.stdout


def test_an_invalid_address_is_one_sentence(notifying: Settings) -> None:
    done = gantry("webhooks", "add", "ftp://127.0.0.1/", settings=notifying)
    assert done.returncode == 1 and "does not send webhooks to this URL" in done.stderr
