"""What D says of images, and how it comes to that from their features."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan.conditioning import Projection
from gan.layers.minibatch import MinibatchDiscrimination
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetInfo


class DiscriminatorOutput(NamedTuple):
    """Of N images."""

    logits: Tensor
    """(N,), raw: real above, fake below."""
    class_logits: Tensor | None
    """(N, K), raw: which class D takes each image for. Only with a class head."""
    features: Tensor
    """(N, F): D's last hidden layer, phi; what feature matching and the projection see."""


class Discriminator(nn.Module):
    """A discriminator: images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    head: DiscriminatorHead

    @abstractmethod
    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """phi(images), (N, F)."""

    def judge(self, images: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        """All that D says of `images`, whose labels are said to be `labels`."""
        judgement: DiscriminatorOutput = self.head(self.features(images, labels), labels)
        return judgement

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.judge(images, labels).logits


class DiscriminatorHead(nn.Module):
    """features (N, F), labels (N,) or None -> `DiscriminatorOutput`.

    The logit is psi(phi(x)), psi linear. Miyato and Koyama 2018 (arXiv:1802.05637) add <e(y), phi(x)> (projection);
    AC-GAN (Odena et al. 2017, arXiv:1610.09585) has a second output P(C | x) (class_head); Salimans et al. 2016
    (arXiv:1606.03498, section 3.2) show psi the batch's likenesses behind phi.
    """

    def __init__(self, spec: TrainSpec, info: DatasetInfo, features: int, bias: bool = True) -> None:
        super().__init__()
        kind, classes = spec.conditioning.kind, len(info.classes)
        kernels = spec.discriminator.minibatch_features
        self.minibatch = MinibatchDiscrimination(features, kernels) if kernels else None
        self.psi = nn.Linear(features + kernels, 1, bias=bias)
        self.projection = Projection(classes, features) if kind == "projection" else None
        self.classes = nn.Linear(features, classes) if kind == "class_head" else None

    def forward(self, features: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        seen = features
        if self.minibatch is not None:
            seen = torch.cat([features, self.minibatch(features)], dim=1)
        logits: Tensor = self.psi(seen).squeeze(1)
        if self.projection is not None:
            logits = logits + self.projection(features, labels)
        return DiscriminatorOutput(logits, None if self.classes is None else self.classes(features), features)
