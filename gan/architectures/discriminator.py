"""The base class of discriminators, their outputs, and the head that computes them from features."""

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
    """The outputs of D for N images."""

    logits: Tensor
    """(N,), without a sigmoid: high for real images, low for fakes."""
    class_logits: Tensor | None
    """(N, K), without a softmax: one per class. None without a class head."""
    features: Tensor
    """(N, F): phi, D's last hidden layer, the input of feature matching and of the projection."""


class Discriminator(nn.Module):
    """A discriminator: images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    head: DiscriminatorHead

    @abstractmethod
    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return phi(images), (N, F)."""

    def outputs(self, images: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        """Return all outputs for `images` with the labels `labels`."""
        outputs: DiscriminatorOutput = self.head(self.features(images, labels), labels)
        return outputs

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the logits (N,) of images (N, C, S, S) in [-1, 1] with labels (N,) or None."""
        return self.outputs(images, labels).logits


class DiscriminatorHead(nn.Module):
    """The last layer of D: features (N, F), labels (N,) or None -> `DiscriminatorOutput`.

    The logit is psi(phi(x)), with a linear psi. With `projection`, <e(y), phi(x)> is added (Miyato and Koyama 2018,
    arXiv:1802.05637). With `class_head`, a second output is P(C | x) (AC-GAN: Odena et al. 2017, arXiv:1610.09585).
    With minibatch discrimination, psi also sees the similarities within the batch (Salimans et al. 2016,
    arXiv:1606.03498, section 3.2).
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
        """Return the outputs for features (N, F) and labels (N,). Only a projection needs labels."""
        psi_input = features
        if self.minibatch is not None:
            psi_input = torch.cat([features, self.minibatch(features)], dim=1)
        logits: Tensor = self.psi(psi_input).squeeze(1)
        if self.projection is not None:
            logits = logits + self.projection(features, labels)
        return DiscriminatorOutput(logits, None if self.classes is None else self.classes(features), features)
