"""Requests that are not valid: `InvalidRequestError` and its subclasses. Each names the wrong fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from gan.spec import SpecProblem


class InvalidRequestError(ValueError):
    """The request is not valid. `problems` say where and what to do; `valid` lists accepted values."""

    code: ClassVar[str] = "invalid-request"

    def __init__(self, problems: Iterable[SpecProblem], *, valid: Sequence[str] = ()) -> None:
        self.problems, self.valid = tuple(problems), list(valid)
        super().__init__(" ".join(p.detail for p in self.problems))


class SingleProblemError(InvalidRequestError):
    """A request with one problem, whose code is that of the class."""

    def __init__(self, pointer: str, detail: str, *, valid: Sequence[str] = ()) -> None:
        super().__init__([SpecProblem(pointer=pointer, code=self.code, detail=detail)], valid=valid)


class IdempotencyKeyReusedError(SingleProblemError):
    """The Idempotency-Key belongs to another request."""

    code = "idempotency-key-reused"

    def __init__(self, key: str) -> None:
        detail = f"The Idempotency-Key {key[:200]!r} belongs to another request of the last 24 hours. Use a new key."
        super().__init__("/Idempotency-Key", detail)


class UnknownDatasetError(SingleProblemError):
    """The spec names a data set that does not exist."""

    code = "unknown-dataset"

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        detail = f"There is no data set {name[:200]!r}. Choose one of: {', '.join(valid)}."
        super().__init__("/dataset", detail, valid=valid)


class OverLimitError(SingleProblemError):
    """A spec that needs more memory than any device of this service has."""

    code = "over-limit"

    def __init__(self, needed_bytes: int, largest_bytes: int) -> None:
        detail = (
            f"The job needs about {needed_bytes / 2**30:,.3g} GiB of memory, but the largest device here has "
            f"{largest_bytes / 2**30:,.3g} GiB. Lower batch_size or the width of the networks."
        )
        super().__init__("/batch_size", detail)


class BadUploadError(InvalidRequestError):
    """An upload that cannot become a data set. The code of each problem says what kind it is."""

    code = "invalid-upload"


class UploadTooLargeError(SingleProblemError):
    """The upload is larger than the limit."""

    code = "body-too-large"

    def __init__(self, most_mb: int) -> None:
        super().__init__("/file", f"The upload is larger than {most_mb:,} MB, which is the maximum.")


class UrlNotAllowedError(SingleProblemError):
    """A URL that the service does not send webhooks to."""

    code = "url-not-allowed"

    def __init__(self, why: str) -> None:
        super().__init__("/url", f"The service does not send webhooks to this URL: {why}.")


class UnknownLabelError(SingleProblemError):
    """The data set has no class of this name or id."""

    code = "unknown-label"

    def __init__(self, label: str, valid: Sequence[str]) -> None:
        detail = f"There is no class {label[:200]!r}. Choose one of these names, or a class id: {', '.join(valid)}."
        super().__init__("/label", detail, valid=valid)


class NotConditionalError(SingleProblemError):
    """A label was given, but the generator was trained without labels."""

    code = "not-conditional"

    def __init__(self) -> None:
        super().__init__(
            "/label", "This generator was trained without labels and cannot draw a chosen class. Omit label."
        )


class UnlabelledError(SingleProblemError):
    """A label was given, but the data set has no labels."""

    code = "unlabelled"

    def __init__(self) -> None:
        super().__init__("/label", "The images of this data set have no labels. Omit label.")


class UnknownMetricError(SingleProblemError):
    """The job has no metric of this name."""

    code = "unknown-metric"

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        detail = f"This job has no metric {name[:200]!r}. It has: {', '.join(valid) or 'none yet'}."
        super().__init__("/names", detail, valid=valid)


class BadCursorError(SingleProblemError):
    """The cursor belongs to another list, or is damaged."""

    code = "bad-cursor"

    def __init__(self) -> None:
        super().__init__("/cursor", "This cursor does not belong to this list. Start again without a cursor.")
