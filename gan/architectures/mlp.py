"""Fully connected GAN, after Goodfellow et al. 2014 (arXiv:1406.2661, section 5).

Each network has two hidden layers. G has ReLU, as in the paper; D has LeakyReLU 0.2 instead of maxout, and no
dropout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gan.architectures.discriminator import Discriminator, DiscriminatorHead
from gan.conditioning import join_to_vector, join_to_z
from gan.layers import spectral_norm
from gan.layers.leaky_relu import LeakyReLU
from gan.layers.seeded_init import Weighted, fill
from gan.spec import TrainSpec, image_size
from gan.spec.catalog import DatasetInfo


class MlpGenerator(nn.Module):
    """The fully connected G: z (N, z_dim), labels (N,) or None -> images (N, C, S, S) in [-1, 1]; S is any size."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        size, units = image_size(spec, info), spec.generator.hidden_units
        self.shape = (info.channels, size, size)
        self.join = join_to_z(spec.conditioning, len(info.classes))
        self.layers = nn.Sequential(
            nn.Linear(spec.generator.z_dim + self.join.extra, units),
            nn.ReLU(inplace=True),
            nn.Linear(units, 2 * units),
            nn.ReLU(inplace=True),
            nn.Linear(2 * units, math.prod(self.shape)),
            nn.Tanh(),
        )
        if spec.generator.spectral_norm:
            spectral_norm.normalise(self)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return G(z) for z (N, z_dim) and labels (N,) or None: images (N, C, S, S) in [-1, 1]."""
        flat: Tensor = self.layers(self.join(z, labels))
        return flat.view(-1, *self.shape)


class MlpDiscriminator(Discriminator):
    """The fully connected D: images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        pixels, units = info.channels * image_size(spec, info) ** 2, spec.discriminator.hidden_units
        half = math.ceil(units / 2)
        self.join = join_to_vector(spec.conditioning.kind, len(info.classes), spec.conditioning.embedding_dim)
        self.layers = nn.Sequential(
            nn.Linear(pixels + self.join.extra, units),
            LeakyReLU(0.2),
            nn.Linear(units, half),
            LeakyReLU(0.2),
        )
        self.head = DiscriminatorHead(spec, info, half)
        if spec.discriminator.spectral_norm:
            spectral_norm.normalise(self)

    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return phi(images), (N, F): the second hidden layer."""
        h: Tensor = self.layers(self.join(images.flatten(1), labels))
        return h


def initialise(network: nn.Module, source: torch.Generator) -> None:
    """Draw weights uniformly within +-1 / sqrt(fan-in), and embeddings from N(0, 1); biases are zero."""
    fill(network, source, _uniform)


def _uniform(layer: Weighted, weight: Tensor, source: torch.Generator) -> None:
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=source)
