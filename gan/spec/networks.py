"""The fields of the two networks, as parts of a spec. This module imports pydantic only."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from gan.spec.base import Int, SpecModel
from gan.spec.families import FAMILIES, Architecture, families_with

_FAMILIES: Final = ", ".join(f"{name} ({family.summary})" for name, family in FAMILIES.items())
_READ_BY: Final = {
    field: ", ".join(families_with(field))
    for field in ("hidden_units", "normalization", "self_attention", "inner_channels")
}
_SELF_ATTENTION: Final = (
    f"{_READ_BY['self_attention']}: self-attention on the feature map of half the image's side (Zhang et al. 2019)."
)
_ATTENTION_POOLING: Final = (
    "true: self-attention to maxima of 2 x 2 positions, with values of half the channels, as in the authors' code; "
    "false: to all positions, with values of an eighth of the channels, as in the paper (Zhang et al. 2019)."
)


class GeneratorSpec(SpecModel):
    """The generator G, which maps a latent z (and a label) to an image."""

    architecture: Architecture = Field("dcgan", description=f"Family of networks: {_FAMILIES}.")
    base_channels: Int = Field(
        32, ge=4, le=256, description="Convolutional families: channels of the largest feature map (ngf)."
    )
    hidden_units: Int = Field(
        256,
        ge=8,
        le=4096,
        description=f"{_READ_BY['hidden_units']}: units of the first hidden layer; the second has twice as many.",
    )
    z_dim: Int = Field(64, ge=1, le=1024, description="Length of the latent vector z.")
    z_distribution: Literal["normal", "uniform"] = Field(
        "normal", description="Distribution of z: normal is N(0, 1), uniform is U(-1, 1)."
    )
    normalization: Literal["batch", "virtual_batch", "none"] = Field(
        "batch",
        description=f"{_READ_BY['normalization']}: normalisation after each layer except the last. virtual_batch: by "
        "the statistics of a fixed reference batch (Salimans et al. 2016).",
    )
    spectral_norm: bool = Field(
        False, description="Divide each weight by its largest singular value (Zhang et al. 2019)."
    )
    self_attention: bool = Field(False, description=_SELF_ATTENTION)
    attention_pooling: bool = Field(False, description=_ATTENTION_POOLING)


class DiscriminatorSpec(SpecModel):
    """The discriminator D, which maps an image (and a label) to one logit."""

    architecture: Architecture = Field(
        "dcgan", description="Family of networks, as for G; it must work at the same image size as that of G."
    )
    base_channels: Int = Field(
        32, ge=4, le=256, description="Convolutional families: channels of the first feature map (ndf)."
    )
    hidden_units: Int = Field(
        512,
        ge=8,
        le=4096,
        description=f"{_READ_BY['hidden_units']}: units of the first hidden layer; the second has half as many.",
    )
    normalization: Literal["batch", "layer", "none"] = Field(
        "batch",
        description=f"{_READ_BY['normalization']}: normalisation after each layer except the first. A gradient "
        "penalty does not allow batch.",
    )
    spectral_norm: bool = Field(
        False, description="Divide each weight by its largest singular value (Miyato et al. 2018)."
    )
    self_attention: bool = Field(False, description=_SELF_ATTENTION)
    attention_pooling: bool = Field(False, description=_ATTENTION_POOLING)
    inner_channels: Literal["output", "input"] = Field(
        "output",
        description=f"{_READ_BY['inner_channels']}: channels between the two convolutions of a block that halves the "
        "side. output: as many as it puts out. input: as many as it gets, half of that in most blocks, as in the "
        "authors' code (Miyato and Koyama 2018).",
    )
    minibatch_features: Int = Field(
        0,
        ge=0,
        le=256,
        description="Kernels of minibatch discrimination, with which D compares the images of a batch (Salimans et "
        "al. 2016); 0: off.",
    )
