"""Every operation has examples, and each example fits its schema."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import jsonschema_rs

from api.http.problems import FRAMEWORK_CODES, STATUS
from api.openapi.examples import problem_examples
from api.schemas.webhooks import EventType
from jobs.errors import GantryError, InvalidRequestError
from jobs.relay.webhooks.sender import signed_headers
from jobs.store.callers.deliveries import FIELDS, TEST, PendingDelivery
from tests.api.openapi.conftest import Json, operations

# Only the service can make one.
_WITHOUT = {"cursor"}


def _values(document: Json, described: Json) -> list[Any]:
    """Return the examples of a parameter, a header or a body."""
    found = [described["example"]] if "example" in described else []
    for example in described.get("examples", {}).values():
        name = example["$ref"].removeprefix("#/components/examples/")
        found.append(document["components"]["examples"][name]["value"])
    return [*found, *described["schema"].get("examples", ())]


def _described(document: Json) -> Iterator[tuple[str, Json]]:
    for about in operations(document):
        name = about["operationId"]
        yield from ((f"{name} {p['name']}", p) for p in about["parameters"] if p["name"] not in _WITHOUT)
        contents = [about.get("requestBody", {}), *about["responses"].values()]
        for content in contents:
            for media, body in content.get("content", {}).items():
                if "json" in media or media.startswith("text/") or media == "multipart/form-data":
                    yield f"{name} {media}", body
    yield from document["components"]["headers"].items()


def test_every_example_fits_its_schema(committed: Json) -> None:
    components = {"components": committed["components"]}
    for place, described in _described(committed):
        values = _values(committed, described)
        assert values, f"{place} has no example"
        if described["schema"]:
            check = jsonschema_rs.Draft202012Validator({**described["schema"], **components})
            for value in values:
                assert not (wrong := [str(error) for error in check.iter_errors(value)]), (place, wrong)


def test_every_operation_has_an_example(committed: Json) -> None:
    for about in operations(committed):
        bodies = [about.get("requestBody", {}), *about["responses"].values()]
        contents = [media for body in bodies for media in body.get("content", {}).values()]
        assert [one for one in (*about["parameters"], *contents) if "example" in one or "examples" in one]


def test_the_codes_of_the_example_problems_exist() -> None:
    of_framework = {(status, code) for status, (code, _) in FRAMEWORK_CODES.items()}
    of_domain = {(_status(cls), cls.code) for base in (GantryError, InvalidRequestError) for cls in _subclasses(base)}
    for status, example in problem_examples().items():
        pair = (int(status), example["value"]["code"])
        assert pair in of_framework | of_domain | {(422, "invalid-spec"), (500, "internal")}


def _subclasses(cls: Any) -> Iterator[Any]:
    yield cls
    for inner in cls.__subclasses__():
        yield from _subclasses(inner)


def _status(cls: type[Exception]) -> int:
    return next((STATUS[base] for base in cls.__mro__ if base in STATUS), 500)


def test_webhooks_are_described_as_they_are_sent(committed: Json) -> None:
    assert committed["webhooks"].keys() == FIELDS.keys() | {TEST} == {*get_args(EventType), TEST}
    delivery = PendingDelivery("msg_1", "default", "hook_1", 1, "https://a.example", "whsec_bm90IGEgc2VjcmV0", "{}")
    sent = {str(name) for name in signed_headers(delivery, datetime(2026, 1, 1, tzinfo=UTC))}
    for event, methods in committed["webhooks"].items():
        about = methods["post"]
        assert {p["name"] for p in about["parameters"]} | {"Content-Type", "User-Agent"} == sent, event
        fields = about["requestBody"]["content"]["application/json"]["schema"]["properties"]["data"]["properties"]
        expected = {"webhook_id"} if event == TEST else {"job_id", "seq", "attempt", *FIELDS[event]}
        assert fields.keys() == expected, event
