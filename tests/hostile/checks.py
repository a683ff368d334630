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
# What a schema says; a request that fits it never gets one of these.
SAYABLE: Final = frozenset(
    {
        *("malformed-json", "unsupported-media-type", "unknown-field", "missing-field", "wrong-type", "not-one-of"),
        *("out-of-range", "bad-format", "unknown-parameter", "missing-parameter", "repeated-parameter"),
        *("missing", "repeated-field"),
    }
)
# One field against another, or a number of parts of the body: (pointer, code).
_BETWEEN_FIELDS: Final = {
    ("/format", "not-one-of"),  # which depends on `part`
    ("/to_step", "out-of-range"),  # not before from_step and after_step
    ("/label", "out-of-range"),  # 1,024 images in all, n of each label
    ("/n", "out-of-range"),
}


_ORDINARY: Final = ("name", "labels", "total_steps", "seed", "priority", "max_attempts", "max_runtime_seconds")


def reasons(status: int, body: dict[str, Any]) -> list[tuple[str, str]]:
    """(pointer, code) of each thing that was said to be wrong."""
    errors = [(error["pointer"], error["code"]) for error in body.get("errors", ())]
    return errors or [("", body["code"])]


def without_excuse(status: int, body: dict[str, Any]) -> list[tuple[str, str]]:
    """Those of them that the document should have told."""
    return [found for found in reasons(status, body) if found[1] in SAYABLE and found not in _BETWEEN_FIELDS]


@schemathesis.check
def what_fits_the_document_is_taken(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Raise `AssertionError` unless the response is as described."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in _REFUSED:
        return
    found = without_excuse(response.status_code, response.json())
    assert not found, f"A request that fits the document was refused: {found}"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Half of the jobs that fit the document are on a data set that is there, and say little else."""
    fits = case.meta is not None and case.meta.generation.mode.is_positive
    body = case.body
    if fits and case.operation.label == "POST /v1/jobs" and isinstance(body, dict) and len(str(body)) % 2:
        kept: dict[str, Any] = {name: body[name] for name in _ORDINARY if name in body}
        case.body = kept | {"dataset": "fashion-mnist-mini"}


@schemathesis.check
def what_the_document_forbids_is_refused(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """As `negative_data_rejection`; but a header that nobody knows is to be ignored (RFC 9110, section 5.1)."""
    if any(name.lower().startswith("x-schemathesis-unknown") for name in case.headers or ()):
        return None
    return negative_data_rejection(ctx, response, case)
