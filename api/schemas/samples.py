"""The manifest of drawn images."""

from __future__ import annotations

from api.schemas.base import ResponseModel


class ManifestImage(ResponseModel):
    """One image of a sample: index in the answer, class, seed."""

    index: int
    class_id: int | None
    label: str | None
    seed: int


class ManifestCheckpoint(ResponseModel):
    """What a sample was drawn from."""

    id: str
    step: int


class Manifest(ResponseModel):
    """All that determines a sample's images."""

    job_id: str
    checkpoint: ManifestCheckpoint
    truncation: float
    images: list[ManifestImage]
