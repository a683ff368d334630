"""docs/webhooks.md tells the truth: its snippet verifies what is sent, its tables are the code's."""

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


def test_the_snippet_verifies_what_is_sent_and_nothing_else() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    room: dict[str, Any] = {}
    exec(snippet, room)
    with receiving() as receiver:
        private().send(delivery(receiver.url, '{"type":"job.status","data":{"job_id":"job_1"}}'))
    (heard,) = receiver.heard
    assert room["receive"](SECRET, dict(heard.headers), heard.body)["data"] == {"job_id": "job_1"}
    assert room["receive"](SECRET, dict(heard.headers), heard.body + b" ") is None
    old = {**heard.headers, "webhook-timestamp": "1700000000"}
    assert room["receive"](SECRET, old, heard.body) is None
    assert room["receive"](SECRET, {}, heard.body) is None


def test_the_table_is_the_events_and_what_is_told_of_them() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if re.match(r"\| `[a-z.]+` \|", line)]
    table = {row[1].strip(" `"): tuple(re.findall(r"`(\w+)`", row[3])) for row in rows}
    assert table == {**deliveries.FIELDS, deliveries.TEST: ("webhook_id",)}


def test_the_example_is_of_the_shape_that_is_sent(db: Database) -> None:
    (example,) = re.findall(r'^{"type".*}$', PAGE, re.MULTILINE)
    shown = json.loads(example)
    assert shown.keys() == {"type", "timestamp", "data"}
    assert tuple(shown["data"]) == ("job_id", "seq", "attempt", *deliveries.FIELDS["job.status"])


def test_the_pauses_and_times_are_the_codes() -> None:
    promised = "5 s, 30 s, 2 min, 5 min, 15 min, 30 min, 1 h, 2 h, 4 h, 6 h and 10 h"
    assert promised in " ".join(PAGE.split())
    units = {"s": 1, "min": 60, "h": 3600}
    found = re.findall(r"(\d+) (s|min|h)", promised)
    assert tuple(int(number) * units[unit] for number, unit in found) == deliveries.RETRY_DELAYS
    assert f"{SECONDS:.0f} s to connect" in PAGE and f"{IN_ALL_SECONDS:.0f} s in all" in PAGE
