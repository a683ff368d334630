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
    """A class of a data set, and how many images carry it."""

    count: int


class FileProblem(ResponseModel):
    """Why an upload cannot become a data set."""

    file: str | None = Field(description="Its name in the archive; null: of the whole.")
    code: str
    detail: str


class Preparation(ResponseModel):
    """What is done to every image of an upload."""

    side: int
    channels: int
    words: str


class IntakeProgress(ResponseModel):
    """How far the validation of an upload is."""

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
    num_held_out: int | None = Field(description="Of an upload: images that only evaluations see, beside the others.")
    preparation: Preparation | None = Field(description="Of an upload, once it is known.")
    progress: IntakeProgress | None = Field(description="While it is validating.")
