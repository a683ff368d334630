"""Response bodies about presets."""

from __future__ import annotations

from pydantic import Field

from api.schemas.base import ResponseModel
from gan.spec import TrainSpec


class PresetView(ResponseModel):
    """A named spec to start from."""

    name: str
    title: str
    summary: str
    paper: str
    reach: str = Field(description="The results that it should reach; empty if they were not measured.")
    is_default: bool
    spec: TrainSpec = Field(description="The complete spec, for the data set that is part of the service.")
