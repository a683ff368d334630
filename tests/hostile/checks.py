"""Checks that replace two of schemathesis's own.

`positive_data_acceptance`: a request that fits the document is accepted, or refused for a reason that no JSON Schema
can express. Generated jobs are valid ones, so that other requests can follow from them.

Loaded by `st run` through SCHEMATHESIS_HOOKS.
"""

from __future__ import annotations

from typing import Any, Final

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection

_REFUSED: Final = (400, 406, 413, 415, 422)
# Problems that a schema can express. A request that fits the schema never gets one of these codes.
SCHEMA_CODES: Final = frozenset(
    {
        *("malformed-json", "unsupported-media-type", "unknown-field", "missing-field", "wrong-type", "not-one-of"),
        *("out-of-range", "bad-format", "unknown-parameter", "missing-parameter", "repeated-parameter"),
        *("missing", "repeated-field"),
    }
)
# Problems that depend on several fields or parts of the body: (pointer, code).
_CROSS_FIELD_PROBLEMS: Final = {
    ("/format", "not-one-of"),  # depends on `part`
    ("/to_step", "out-of-range"),  # must not be below from_step or after_step
    ("/label", "out-of-range"),  # 1,024 images in total, n for each label
    ("/n", "out-of-range"),
}


_KEPT_FIELDS: Final = ("name", "labels", "total_steps", "seed", "priority", "max_attempts", "max_runtime_seconds")


def problems_of(status: int, body: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (pointer, code) of each problem in a response."""
    errors = [(error["pointer"], error["code"]) for error in body.get("errors", ())]
    return errors or [("", body["code"])]


def schema_violations(status: int, body: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the problems that the schema could have expressed."""
    return [
        found
        for found in problems_of(status, body)
        if found[1] in SCHEMA_CODES and found not in _CROSS_FIELD_PROBLEMS
    ]


@schemathesis.check
def valid_requests_are_accepted(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Check that a request that fits the document is not refused for a reason that its schema can express."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in _REFUSED:
        return
    found = schema_violations(response.status_code, response.json())
    assert not found, f"A request that fits the document was refused: {found}"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Reduce half of the valid jobs to a few fields and an existing data set, so that they are accepted."""
    fits = case.meta is not None and case.meta.generation.mode.is_positive
    body = case.body
    if fits and case.operation.label == "POST /v1/jobs" and isinstance(body, dict) and len(str(body)) % 2:
        kept: dict[str, Any] = {name: body[name] for name in _KEPT_FIELDS if name in body}
        case.body = kept | {"dataset": "fashion-mnist-mini"}


@schemathesis.check
def invalid_requests_are_rejected(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """Apply `negative_data_rejection`, but accept unknown headers (RFC 9110, section 5.1)."""
    if any(name.lower().startswith("x-schemathesis-unknown") for name in case.headers or ()):
        return None
    return negative_data_rejection(ctx, response, case)
