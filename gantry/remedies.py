"""The remedies of a job's findings, applied to its spec."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from jsonpointer import JsonPointer

from gantry.arguments import as_list
from gantry.connection import Json


class NoSuchFindingError(Exception):
    """The job has no finding with this code, or the finding has no remedy."""

    def __init__(self, code: str, known: Sequence[str]) -> None:
        super().__init__(f"The job has no finding {code!r} with a remedy; it has: {', '.join(known) or 'none'}.")


def remedied(job: Json, codes: str | Sequence[str]) -> Json:
    """Return a body for POST /v1/jobs: the job's spec with the remedies of the findings `codes` applied.

    Raises `NoSuchFindingError`.
    """
    body: Json = deepcopy(job["spec"])
    by_code = {finding["code"]: finding["remedy"] for finding in job["health"]["findings"] if finding["remedy"]}
    for code in as_list(codes):
        if code not in by_code:
            raise NoSuchFindingError(code, list(by_code))
        for remedy in by_code[code]:
            _set(body, remedy["pointer"], remedy["value"])
    return body


def _set(body: Json, pointer: str, value: Any) -> None:
    """Set the field at `pointer`. Missing objects on the way are created, as jsonpointer's own function does not."""
    *parents, last = JsonPointer(pointer).parts
    target: Any = body
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
    target[int(last) if isinstance(target, list) else last] = value
