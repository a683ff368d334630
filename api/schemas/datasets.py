"""Response bodies about data sets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import ResponseModel


class ClassView(ResponseModel):
    """A class that the generator can draw."""

    id: int
    label: str


class CountedClass(ClassView):
    """A class of a data set, and the number of its images."""

    count: int


class FileProblem(ResponseModel):
    """A reason why an upload cannot become a data set."""

    file: str | None = Field(description="The name of the file in the archive; null for the archive itself.")
    code: str
    detail: str


class Preparation(ResponseModel):
    """The preparation of every image of an upload."""

    side: int
    channels: int
    words: str


class IntakeProgress(ResponseModel):
    """The progress of the validation of an upload."""

    phase: Literal["checking", "preparing"]
    done: int
    total: int


class DatasetView(ResponseModel):
    """A registered data set."""

    id: str
    name: str
    status: Literal["validating", "ready", "failed"]
    num_images: int
    channels: int
    height: int
    width: int
    classes: list[CountedClass]
    sha256: str | None
    problems: list[FileProblem]
    num_held_out: int | None = Field(
        description="For an upload: the number of images that only evaluations use; num_images does not count them."
    )
    preparation: Preparation | None = Field(description="For an upload, as soon as it is known.")
    notes: list[str] = Field(
        description="For an upload that is ready: how its archive was read, what was left out, and what looks wrong."
    )
    progress: IntakeProgress | None = Field(description="While the status is validating.")
