"""The families of networks as a spec knows them: the image sizes they work at, the fields they read, their memory.

A new family touches three files: an entry here, its networks in `gan/architectures/`, and the entry in
`gan.architectures.NETWORKS` that maps the name to them. Fields, rules, image size and memory bound follow from the
entry here. This module imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Architecture = Literal["dcgan", "mlp", "resnet", "r3gan"]


@dataclass(frozen=True)
class FamilyFacts:
    """The facts about one family that its spec depends on."""

    summary: str
    """How the description of `architecture` explains the family."""
    options: tuple[str, ...]
    """The optional fields of `generator` and `discriminator` that the family reads, besides its width. A field that
    only one of the two has is read for that one."""
    batch_norm_in_g: bool
    """Whether G has BatchNorm, at least with `normalization` "batch", so that BatchNorm can be conditional."""
    activations: int
    """Numbers kept of one image between forward and backward, for each unit of width; for an image of
    `LARGEST_SIDE` pixels, unless the family is fully connected."""
    weights: int
    """Weights of one network, for each unit of width squared."""
    fully_connected: bool = False
    """Whether the networks work on flat vectors of pixels. These work at the images' own size and embed the label
    of D as a vector. All other families are convolutional: they work at powers of two, from 16 pixels."""

    @property
    def width(self) -> Literal["base_channels", "hidden_units"]:
        """The field that sets the width of a network."""
        return "hidden_units" if self.fully_connected else "base_channels"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of `generator` and `discriminator` that this family reads and some other family does not."""
        return (self.width, *self.options)


FAMILIES: Final[dict[Architecture, FamilyFacts]] = {
    "dcgan": FamilyFacts(
        summary="strided convolutions",
        options=("normalization", "spectral_norm", "self_attention"),
        batch_norm_in_g=True,
        activations=40_000,
        weights=3_000,
    ),
    "mlp": FamilyFacts(
        summary="fully connected",
        options=("spectral_norm",),
        batch_norm_in_g=False,
        activations=20,
        weights=5,
        fully_connected=True,
    ),
    "resnet": FamilyFacts(
        summary="residual blocks, as in SNGAN",
        options=("spectral_norm", "self_attention", "inner_channels"),
        batch_norm_in_g=True,
        activations=600_000,
        weights=18_000,
    ),
    "r3gan": FamilyFacts(
        summary="residual bottlenecks without normalisation",
        options=(),
        batch_norm_in_g=False,
        activations=150_000,
        weights=3_000,
    ),
}

# The order in which a check reports these fields.
OPTIONAL_FIELDS: Final = (
    "base_channels",
    "hidden_units",
    "normalization",
    "spectral_norm",
    "self_attention",
    "inner_channels",
)


def families_with(field: str) -> list[str]:
    """Return the names of the families that read `field`."""
    return [name for name, family in FAMILIES.items() if field in family.fields]
