"""An upper bound of the memory that a spec takes, by arithmetic alone, for processes that have no torch.

It is generous: a spec whose bound fits on a device fits for certain. For any other spec, `gan.estimate` gives a
closer value. This module imports pydantic only.
"""

from __future__ import annotations

from typing import Final

from gan.spec.families import FAMILIES
from gan.spec.fields import TrainSpec
from gan.spec.networks import DiscriminatorSpec, GeneratorSpec

LARGEST_SIDE: Final = 128
"""Side of the largest images that the networks can make, in pixels."""

_CHANNELS: Final = 3
_FP32: Final = 4
# An attention map relates every position to every other; kept are its logits, its softmax, and their gradients.
_MAPS_OF_ATTENTION: Final = 4
# A second derivative keeps what it needs of the first one, in every layer.
_OF_A_PENALTY: Final = 4
# The weights, their gradient, Adam's two moments, the mean of past weights, G_ema.
_COPIES: Final = 6


def max_memory_bytes(spec: TrainSpec, side: int = LARGEST_SIDE) -> int:
    """Return a number of bytes that training `spec` on images of `side` pixels does not exceed, without its data."""
    parts = (spec.generator, spec.discriminator)
    kept = sum(_activations(part, side) for part in parts)
    weights = sum(_weights(part, side) for part in parts)
    passes = 2 + _OF_A_PENALTY * len(spec.penalties)
    # Minibatch discrimination compares every pair of images of a batch.
    pairs = spec.discriminator.minibatch_features * 16 * spec.batch_size**2
    return int(_FP32 * (spec.batch_size * kept * passes + pairs * passes + _COPIES * weights))


def _activations(part: GeneratorSpec | DiscriminatorSpec, side: int) -> float:
    """Return how many numbers a network keeps of one image between forward and backward."""
    family = FAMILIES[part.architecture]
    images = 4 * _CHANNELS * side**2
    if family.fully_connected:
        return images + family.activations * part.hidden_units
    kept = images + family.activations * part.base_channels * (side / LARGEST_SIDE) ** 2
    if part.self_attention:
        # Pooled, there is one key for each 2 x 2 positions.
        kept += _MAPS_OF_ATTENTION * (side // 2) ** 4 / (4 if part.attention_pooling else 1)
    # virtual_batch computes a reference batch beside every batch.
    return kept * (2 if part.normalization == "virtual_batch" else 1)


def _weights(part: GeneratorSpec | DiscriminatorSpec, side: int) -> int:
    """Return how many weights a network has."""
    family = FAMILIES[part.architecture]
    if family.fully_connected:
        return family.weights * part.hidden_units**2 + 2 * _CHANNELS * side**2 * part.hidden_units
    # The second term: a linear map from the longest z and the longest embedding to the smallest feature map.
    return family.weights * part.base_channels**2 + 2**18 * part.base_channels
