"""The manifest of drawn images."""

from __future__ import annotations

from api.schemas.base import ResponseModel


class ManifestImage(ResponseModel):
    """One drawn image: its index in the response, its class and its seed."""

    index: int
    class_id: int | None
    label: str | None
    seed: int


class ManifestCheckpoint(ResponseModel):
    """The checkpoint that the images were drawn from."""

    id: str
    step: int


class Manifest(ResponseModel):
    """Everything that determines the drawn images."""

    job_id: str
    checkpoint: ManifestCheckpoint
    truncation: float
    images: list[ManifestImage]
