"""Deep convolutional GAN (Radford, Metz and Chintala 2015, arXiv:1511.06434).

The paper's rules (section 3): strided convolutions in place of pooling; BatchNorm everywhere but G's last layer and
D's first; ReLU in G with Tanh at its end; LeakyReLU 0.2 in D; weights from N(0, 0.02).
"""

from __future__ import annotations

import itertools
from typing import Final

import torch
from torch import Tensor, nn

from gan.catalog import DatasetInfo
from gan.conditioning import join_to_image, join_to_vector
from gan.spec import TrainSpec, image_size

_SEED_SIDE: Final = 4
# Past 8 times the base width the paper's networks grow no wider.
_WIDEST: Final = 8


class Generator(nn.Module):
    """z (N, z_dim), labels (N,) or None -> images (N, C, S, S) in [-1, 1]; S is 16, 32, 64 or 128."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        widths = _widths(spec.generator.base_channels, image_size(spec, info))[::-1]
        self.join = join_to_vector(spec.conditioning.kind, len(info.classes), spec.conditioning.embedding_dim)
        # The paper's "project and reshape": a matrix product to a 4 x 4 map.
        self.project = nn.Linear(spec.generator.z_dim + self.join.extra, widths[0] * _SEED_SIDE**2, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for before, after in itertools.pairwise(widths):
            layers += [_up(before, after), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, _up(widths[-1], info.channels), nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        h = self.project(self.join(z, labels))
        # Laid out channels last, which is the layout the convolutions are quickest in.
        h = h.unflatten(1, (_SEED_SIDE, _SEED_SIDE, -1)).permute(0, 3, 1, 2)
        images: Tensor = self.layers(h)
        return images


class Discriminator(nn.Module):
    """images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        size = image_size(spec, info)
        widths = _widths(spec.discriminator.base_channels, size)
        self.join = join_to_image(spec.conditioning.kind, len(info.classes), size)
        layers: list[nn.Module] = [_down(info.channels + self.join.extra, widths[0]), nn.LeakyReLU(0.2, inplace=True)]
        for before, after in itertools.pairwise(widths):
            layers += [_down(before, after), nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.judge = nn.Linear(widths[-1] * _SEED_SIDE**2, 1, bias=False)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        h = self.layers(self.join(images, labels))
        logits: Tensor = self.judge(h.permute(0, 2, 3, 1).flatten(1))
        return logits.squeeze(1)


def initialise(network: nn.Module, source: torch.Generator) -> None:
    """Weights from N(0, 0.02), BatchNorm's from N(1, 0.02); embeddings, which the paper has none of, from N(0, 1)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=source)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=source)
            nn.init.zeros_(module.bias)
            module.reset_running_stats()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=source)


def _widths(base: int, size: int) -> list[int]:
    """Channels of D's maps from size/2 down to 4 x 4: base, 2 base, 4 base and so on; G's are the same, reversed."""
    halvings = size.bit_length() - _SEED_SIDE.bit_length()
    assert size == _SEED_SIDE << halvings and halvings >= 1
    return [base * min(2**i, _WIDEST) for i in range(halvings)]


def _up(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=False)


def _down(before: int, after: int) -> nn.Module:
    return nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=False)
