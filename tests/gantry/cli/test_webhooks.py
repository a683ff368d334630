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
from tests.api.shell import gantry, service, submit
from tests.jobs.relay.webhooks.receiver import receiving


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The service with webhooks on, and its relay; one for all tests of this file."""
    on = {"webhooks": True, "webhook_allow_private": True}
    folder = tmp_path_factory.mktemp("telling")
    with service(folder, **on) as settings, (folder / "relay.log").open("wb") as log:
        argv = [sys.executable, "-m", "jobs.relay"]
        relay = process.spawn(argv, env={**os.environ, **settings.environment()}, stdout=log, stderr=log)
        try:
            # Before it, there is nobody who would hear that it is to stop.
            until(lambda: "relay started" in (folder / "relay.log").read_text())
            yield settings
        finally:
            assert process.end(relay, 60) == 0


def test_one_is_added_tested_listed_and_deleted(telling: Settings) -> None:
    with receiving() as receiver:
        done = gantry("webhooks", "add", receiver.url, "--event", "job.status", settings=telling)
        assert done.returncode == 0 and "shown this once: whsec_" in done.stdout, done.stderr
        hook = done.stdout.split()[0]
        done = gantry("webhooks", "test", hook, settings=telling)
        assert done.returncode == 0 and "is delivered: attempt 1: 200 after" in done.stdout, done.stderr
        submit(telling)
        listed = gantry("webhooks", "list", settings=telling).stdout
        assert hook in listed and "enabled" in listed and receiver.url in listed and "whsec" not in listed
        told = json.loads(gantry("webhooks", "deliveries", hook, "--json", settings=telling).stdout)["data"]
        assert [row["type"] for row in told] == ["job.status", "webhook.test"]
        done = gantry("webhooks", "redeliver", hook, told[-1]["id"], settings=telling)
        assert done.stdout == f"{told[-1]['id']} is sent again.\n"
        assert told[-1]["id"] in gantry("webhooks", "deliveries", hook, settings=telling).stdout
    done = gantry("webhooks", "change", hook, "--disable", "--event", "health.finding", settings=telling)
    assert done.stdout == f"{hook} is disabled and told of health.finding.\n"
    refused = gantry("webhooks", "test", hook, settings=telling)
    assert refused.returncode == 1 and "Enable it first" in refused.stderr
    assert gantry("webhooks", "delete", hook, settings=telling).stdout == f"{hook} is deleted.\n"
    gone = gantry("webhooks", "delete", hook, settings=telling)
    assert gone.returncode == 1 and "There is no webhook" in gone.stderr


def test_what_is_asked_as_json_is_answered_as_json(telling: Settings) -> None:
    def asked(*words: str) -> dict[str, Any]:
        done = gantry("webhooks", *words, "--json", settings=telling)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    with receiving() as receiver:
        hook = asked("add", receiver.url)["id"]
        told = asked("test", hook)
        assert (told["type"], told["state"]) == ("webhook.test", "delivered")
        assert asked("redeliver", hook, told["id"])["id"] == told["id"]
    changed = asked("change", hook, "--disable")
    assert changed["id"] == hook and not changed["enabled"] and "secret" not in changed
    assert asked("delete", hook) == {"deleted": hook}


def test_a_test_that_is_refused_is_exit_1_and_says_why(telling: Settings) -> None:
    with receiving(302) as receiver:
        made = json.loads(gantry("webhooks", "add", receiver.url, "--json", settings=telling).stdout)
        done = gantry("webhooks", "test", made["id"], settings=telling)
    assert done.returncode == 1 and "302" in done.stdout and "redirect, which is not followed" in done.stdout


def test_an_address_that_cannot_be_is_one_sentence(telling: Settings) -> None:
    done = gantry("webhooks", "add", "ftp://127.0.0.1/", settings=telling)
    assert done.returncode == 1 and "does not send webhooks to this URL" in done.stderr
