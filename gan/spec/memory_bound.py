"""The most memory that a spec can take: arithmetic alone, for whoever has no torch.

Generous: what stays below it fits for certain, and what does not is for `gan.estimate` to say. Pydantic only.
"""

from __future__ import annotations

from typing import Final

from gan.spec.fields import DiscriminatorSpec, GeneratorSpec, TrainSpec

LARGEST_SIDE: Final = 128
"""Of the images that networks reach, in pixels."""

_CHANNELS: Final = 3
_FP32: Final = 4
# Numbers that a network keeps of one image between forward and backward, for each unit of its width: of the largest
# images, and fewer in proportion of smaller ones; or whatever they are.
_KEPT: Final = {"dcgan": 40_000, "resnet": 600_000, "r3gan": 150_000}
_KEPT_BY_MLP: Final = 20
# Weights, for each unit of its width squared.
_WEIGHTS: Final = {"dcgan": 3_000, "resnet": 18_000, "r3gan": 3_000, "mlp": 5}
# A map of attention is of every place to every other; its logits, its softmax, and their gradients.
_MAPS_OF_ATTENTION: Final = 4
# A second derivative keeps of every layer what it needs of the first.
_OF_A_PENALTY: Final = 4
# The weights themselves, a gradient, two moments, the mean of the past, G_ema.
_COPIES: Final = 6


def memory_ceiling(spec: TrainSpec, side: int = LARGEST_SIDE) -> int:
    """Bytes that training `spec` on images of `side` pixels will not exceed, its data set aside."""
    kept = sum(_kept(part, side) for part in (spec.generator, spec.discriminator))
    weights = sum(_weights(part, side) for part in (spec.generator, spec.discriminator))
    passes = 2 + _OF_A_PENALTY * len(spec.penalties)
    # Minibatch discrimination sees every pair of images; virtual_batch draws a reference batch besides.
    pairs = spec.discriminator.minibatch_features * 16 * spec.batch_size**2
    return int(_FP32 * (spec.batch_size * kept * passes + pairs * passes + _COPIES * weights))


def _kept(part: GeneratorSpec | DiscriminatorSpec, side: int) -> float:
    images = 4 * _CHANNELS * side**2
    if part.architecture == "mlp":
        return images + _KEPT_BY_MLP * part.hidden_units
    kept = images + _KEPT[part.architecture] * part.base_channels * (side / LARGEST_SIDE) ** 2
    if part.self_attention:
        kept += _MAPS_OF_ATTENTION * (side // 2) ** 4
    return kept * (2 if part.normalization == "virtual_batch" else 1)


def _weights(part: GeneratorSpec | DiscriminatorSpec, side: int) -> int:
    if part.architecture == "mlp":
        return _WEIGHTS["mlp"] * part.hidden_units**2 + 2 * _CHANNELS * side**2 * part.hidden_units
    # The second: a linear map from the longest z and the longest embedding to the smallest map.
    return _WEIGHTS[part.architecture] * part.base_channels**2 + 2**18 * part.base_channels
