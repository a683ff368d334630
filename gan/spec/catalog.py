"""The description of a data set: its name, size and classes, without its images and without torch.

`gan.datasets` reads the images.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field


class DatasetClass(BaseModel):
    """One class: its id, which the networks get, its name, and its number of training images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(ge=0)
    label: str
    count: int = Field(ge=0)


class DatasetInfo(BaseModel):
    """The description of a data set: `num_images` training images of (channels, height, width), uint8 in 0..255."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    num_images: int = Field(ge=1)
    channels: int = Field(ge=1, le=4)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    classes: tuple[DatasetClass, ...] = ()
    """The classes in the order of their ids 0..K-1; empty if the images have no labels."""
    sha256: str | None = None
    """The digest of the images' uint8 bytes (N, C, H, W), followed by the labels as little-endian int64; None if not
    known."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names in the order of their ids."""
        return tuple(c.label for c in self.classes)


FASHION_LABELS: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def _fashion(name: str, per_class: int, sha256: str | None) -> DatasetInfo:
    classes = tuple(DatasetClass(id=i, label=text, count=per_class) for i, text in enumerate(FASHION_LABELS))
    return DatasetInfo(
        name=name,
        num_images=per_class * len(classes),
        channels=1,
        height=28,
        width=28,
        classes=classes,
        sha256=sha256,
    )


BUILTIN_DATASETS: Final[dict[str, DatasetInfo]] = {
    info.name: info
    for info in (
        _fashion("fashion-mnist-mini", 500, "ac438b72878d39f78f59dddf7568da6320914d1488cec307e647409ae1f2b37a"),
        _fashion("fashion-mnist", 6_000, "1f243a60b4b748a44c48b9a6f6907be2a08bee3e4e226f0e86fbde8e147b745a"),
    )
}
