"""A finding's remedy, laid over the spec of the job that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from jsonpointer import set_pointer

from gantry.client import Json


class NoSuchFindingError(Exception):
    """The job has no such finding, or one without a remedy."""

    def __init__(self, code: str, known: Sequence[str]) -> None:
        super().__init__(f"The job has no finding {code!r} with a remedy; it has: {', '.join(known) or 'none'}.")


def remedied(job: Json, codes: Sequence[str]) -> Json:
    """A body for POST /v1/jobs: the job's spec, with every field that these findings' remedies point at set anew.

    Raises `NoSuchFindingError`.
    """
    body: Json = deepcopy(job["spec"])
    by_code = {finding["code"]: finding["remedy"] for finding in job["health"]["findings"] if finding["remedy"]}
    for code in codes:
        if code not in by_code:
            raise NoSuchFindingError(code, list(by_code))
        for remedy in by_code[code]:
            set_pointer(body, remedy["pointer"], remedy["value"])
    return body
