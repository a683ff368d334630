"""Tests of the logs: one line of JSON for each event, without secrets."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from jobs.runtime import logs
from jobs.runtime.redaction import redact
from jobs.runtime.settings import Settings

KEY = "gan_live_9fK2mQ7xVb3LzR8tYc5WnD1sHj4Gp6Ae_1c2D3e"


@pytest.fixture
def logged() -> Iterator[Any]:
    """Yield a function that returns the lines logged since, as text and as parsed JSON."""
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    structured = structlog.get_config()
    logs.setup(Settings(), "test")
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    # Replace stderr, which a test runner changes from one phase of a test to the next.
    handler.setStream(written := io.StringIO())

    def lines() -> list[tuple[str, dict[str, Any]]]:
        return [(line, json.loads(line)) for line in written.getvalue().splitlines()]

    yield lines
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    # Restore the configuration, so that later tests of this process see their own log lines.
    structlog.configure(**structured)


@pytest.mark.parametrize(
    ("text", "secret", "kept"),
    [
        (f"key {KEY} is unknown", KEY.removeprefix("gan_live_"), "gan_live_"),
        ("signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8G", "whsec_"),
        ("cannot reach postgresql+psycopg://gantry:s3cret@db:5432/gantry", "s3cret", "@db:5432/gantry"),
        ("redis://:s3cret@broker/0 is away", "s3cret", "@broker/0"),
        ("postgresql://u:p@ss:w@rd@db/x", "ss:w@rd", "@db/x"),
        ("Authorization: Bearer abc.def-ghi", "abc.def", "Authorization"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz", "authorization"),
        ("(b'authorization', b'Bearer abcdefgh')", "abcdefgh", "authorization"),
        ("sent with bearer abcdefgh0123", "abcdefgh0123", "sent with"),
        ("DB_PASSWORD=hunter2 given", "hunter2", "given"),
        ("sent with BASIC abcdefgh0123", "abcdefgh0123", "sent with"),
        ("PassWd: hunter2 given", "hunter2", "given"),
        ("APIKEY=hunter2 given", "hunter2", "given"),
        ("a_Secret=hunter2 given", "hunter2", "given"),
        ("access_TOKEN = hunter2 given", "hunter2", "given"),
        ("Gan_Test_hunter2 given", "hunter2", "given"),
        ('{"api_key": "hunter2", "n": 3}', "hunter2", '"n": 3'),
    ],
)
def test_secrets_are_redacted(logged: Any, text: str, secret: str, kept: str) -> None:
    structlog.get_logger("gantry.test").info(text, also=text, deep={"in": [text]})
    logging.getLogger("another").warning("it says %s", text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        structlog.get_logger("gantry.test").exception("it broke")
    written = logged()
    assert len(written) == 3
    for line, event in written:
        assert secret not in line and "[redacted]" in line
        assert kept in json.dumps(event, ensure_ascii=False).replace('\\"', '"')


def test_other_text_is_kept(logged: Any) -> None:
    text = "http://127.0.0.1:8000/v1/jobs/job_1 took 3 ms at ten past 10:03, mail@example.org"
    structlog.get_logger("gantry.test").info(text, author="nobody", token_count=3)
    ((line, event),) = logged()
    assert event["event"] == text == redact(text) and event["author"] == "nobody" and "[redacted]" not in line


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\x00b", "a\x7fb", "a\u2028b", "a\u202eb", "a\x85b"]
)
def test_control_characters_are_escaped(logged: Any, text: str) -> None:
    structlog.get_logger("gantry.test").info("event", name=text)
    logging.getLogger("another").error(text)
    written = logged()
    assert [event.get("name", event["event"]) for _, event in written] == [text, text]
    assert all(line.isascii() and line.isprintable() for line, _ in written)


@pytest.mark.parametrize(
    "words", ["a.", "a+", "x://", "x:", "password", "authorization:", "bearer ", "gan_live_", "@"]
)
def test_the_cost_of_a_line_grows_with_its_length(words: str) -> None:
    line = words * (60_000 // len(words)) + "x:// password authorization bearer"
    began = time.process_time()
    redact(line)
    assert time.process_time() - began < 2, "twice the length must not take four times as long"
