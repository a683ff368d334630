"""The networks of the workloads, written plainly: what the peers' loops train. Gantry builds its own, of one size.

As pytorch/examples and PyTorch-GAN have them: `nn.Sequential`, torch's default layout and float32.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

SIDE = 32
"""Of the convolutional networks' images; an mlp takes 28 x 28 as they are."""
_PIXELS = 28 * 28


class PlainNetwork(nn.Module):
    """A network; `label_type` is how torchgan is told that it hands on no labels."""

    label_type = "none"


class PlainDrawer(PlainNetwork):
    """A G, which draws from z of `z_dim`, known to torchgan as `encoding_dims`."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = self.encoding_dims = z_dim


class PlainGenerator(PlainDrawer):
    """DCGAN's G: z (N, z_dim) -> images (N, 1, 32, 32); with `classes`, the label's embedding joined to z."""

    def __init__(self, z_dim: int, base: int, classes: int = 0, embedding: int = 32) -> None:
        super().__init__(z_dim)
        self.embedding = nn.Embedding(classes, embedding) if classes else None
        widths = [4 * base, 2 * base, base]
        first = z_dim + (embedding if classes else 0)
        layers: list[nn.Module] = [nn.ConvTranspose2d(first, widths[0], 4, 1, 0, bias=False)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.BatchNorm2d(before), nn.ReLU(True), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(base), nn.ReLU(True), nn.ConvTranspose2d(base, 1, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images (N, 1, 32, 32) in [-1, 1] for z (N, z_dim) and labels (N,) or None."""
        if self.embedding is not None and labels is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        images: Tensor = self.main(z[:, :, None, None])
        return images


class PlainDiscriminator(PlainNetwork):
    """DCGAN's D, or without BatchNorm a critic: images -> logits (N,); the label's embedding as a channel."""

    def __init__(self, base: int, classes: int = 0, batchnorm: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, SIDE * SIDE) if classes else None
        widths = [base, 2 * base, 4 * base]
        layers: list[nn.Module] = [
            nn.Conv2d(2 if classes else 1, base, 4, 2, 1, bias=not batchnorm),
            nn.LeakyReLU(0.2, True),
        ]
        for before, after in itertools.pairwise(widths):
            layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=not batchnorm))
            layers += [nn.BatchNorm2d(after)] if batchnorm else []
            layers.append(nn.LeakyReLU(0.2, True))
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=not batchnorm))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N,) for images (N, 1, 32, 32) and labels (N,) or None."""
        if self.embedding is not None and labels is not None:
            images = torch.cat([images, self.embedding(labels).view(-1, 1, SIDE, SIDE)], 1)
        logits: Tensor = self.main(images)
        return logits.view(-1)


class PlainMlpGenerator(PlainDrawer):
    """z (N, z_dim) -> images (N, 1, 28, 28), its hidden units doubling once."""

    def __init__(self, z_dim: int, units: int) -> None:
        super().__init__(z_dim)
        self.main = nn.Sequential(
            nn.Linear(z_dim, units),
            nn.ReLU(True),
            nn.Linear(units, 2 * units),
            nn.ReLU(True),
            nn.Linear(2 * units, _PIXELS),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images (N, 1, 28, 28) in [-1, 1] for z (N, z_dim); labels are ignored."""
        images: Tensor = self.main(z).view(-1, 1, 28, 28)
        return images


class PlainMlpDiscriminator(PlainNetwork):
    """images -> logits (N,), its hidden units halving once."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(_PIXELS, units),
            nn.LeakyReLU(0.2, True),
            nn.Linear(units, units // 2),
            nn.LeakyReLU(0.2, True),
            nn.Linear(units // 2, 1),
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N,) for images (N, 1, 28, 28); labels are ignored."""
        logits: Tensor = self.main(images.flatten(1)).view(-1)
        return logits
