"""The headers Accept, If-None-Match and Prefer."""

from __future__ import annotations

import pytest

from api.http.errors import NotAcceptableError
from api.http.headers import matches, negotiate, wait_seconds
from api.samples.request import FORMATS


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("text/html, */*;q=0.8", "image/png"),
        ("application/zip", "application/zip"),
        ("image/png;q=0.5, application/json", "application/json"),
        ("application/*", "application/zip"),
        ("APPLICATION/JSON", "application/json"),
        ("image/png;q=0, */*;q=0.1", "application/zip"),
    ],
)
def test_accept_is_negotiated(accept: str | None, chosen: str) -> None:
    assert negotiate(accept, list(FORMATS)) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/png;q=x", "nonsense"])
def test_an_unavailable_type_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptableError):
        negotiate(accept, list(FORMATS))


def test_conditions_and_preferences_are_read() -> None:
    assert matches('W/"a", "b"', '"a"') and matches("*", '"a"') and not matches(None, '"a"')
    assert wait_seconds("respond-async, wait=10") == 10 and wait_seconds("wait=900") == 60
    assert wait_seconds(None) is wait_seconds("wait=soon") is wait_seconds("await=5") is None
