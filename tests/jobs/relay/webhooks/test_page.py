"""Tests of docs/webhooks.md: its snippet verifies deliveries, and its tables match the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jobs.db import Database
from jobs.relay.webhooks.sender import IN_ALL_SECONDS, SECONDS
from jobs.store.callers import deliveries
from tests.jobs.relay.webhooks.receiver import receiving
from tests.jobs.relay.webhooks.test_sender import SECRET, delivery, private

PAGE = (Path(__file__).parents[4] / "docs" / "webhooks.md").read_text()


def test_the_snippet_verifies_deliveries_and_nothing_else() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    with receiving() as receiver:
        private().send(delivery(receiver.url, '{"type":"job.status","data":{"job_id":"job_1"}}'))
    (request,) = receiver.requests
    assert namespace["receive"](SECRET, dict(request.headers), request.body)["data"] == {"job_id": "job_1"}
    assert namespace["receive"](SECRET, dict(request.headers), request.body + b" ") is None
    old = {**request.headers, "webhook-timestamp": "1700000000"}
    assert namespace["receive"](SECRET, old, request.body) is None
    assert namespace["receive"](SECRET, {}, request.body) is None


def test_the_table_lists_the_events_and_their_fields() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if re.match(r"\| `[a-z.]+` \|", line)]
    table = {row[1].strip(" `"): tuple(re.findall(r"`(\w+)`", row[3])) for row in rows}
    assert table == {**deliveries.FIELDS, deliveries.TEST: ("webhook_id",)}


def test_the_example_has_the_shape_of_a_delivery(db: Database) -> None:
    (example,) = re.findall(r'^{"type".*}$', PAGE, re.MULTILINE)
    shown = json.loads(example)
    assert shown.keys() == {"type", "timestamp", "data"}
    assert tuple(shown["data"]) == ("job_id", "seq", "attempt", *deliveries.FIELDS["job.status"])


def test_the_delays_and_timeouts_match_the_code() -> None:
    documented = "5 s, 30 s, 2 min, 5 min, 15 min, 30 min, 1 h, 2 h, 4 h, 6 h and 10 h"
    assert documented in " ".join(PAGE.split())
    units = {"s": 1, "min": 60, "h": 3600}
    found = re.findall(r"(\d+) (s|min|h)", documented)
    assert tuple(int(number) * units[unit] for number, unit in found) == deliveries.RETRY_DELAYS
    assert f"{SECONDS:.0f} s to connect" in PAGE and f"{IN_ALL_SECONDS:.0f} s in all" in PAGE
