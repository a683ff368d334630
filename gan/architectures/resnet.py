"""Residual GAN (Miyato et al. 2018, arXiv:1802.05957, tables 5 and 6; the same with projection, arXiv:1802.05637).

G: a linear layer to a 4 x 4 map, blocks that double the side, BatchNorm, ReLU, 3 x 3 convolution, Tanh. D: blocks
that halve the side down to 4 x 4, one more block, ReLU, the sum over all positions, and a linear layer. D does not
normalise its activations. `spectral_norm` and `self_attention` (arXiv:1805.08318) are options of the spec.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.architectures.discriminator import Discriminator, DiscriminatorHead
from gan.conditioning import join_to_image, join_to_z
from gan.layers import spectral_norm
from gan.layers.attention import SelfAttention
from gan.layers.conditional_batchnorm import ConditionalBatchNorm2d
from gan.layers.label_conditioned import LabelConditioned, apply_layers
from gan.layers.seeded_init import Weighted, fill
from gan.spec import TrainSpec, image_size
from gan.spec.catalog import DatasetInfo

_SEED_SIDE: Final = 4
# The widest map has this many times the channels of the narrowest, as in the paper's networks for 128 x 128 pixels.
_MAX_FACTOR: Final = 16

Norm = Callable[[int], nn.Module]


class ResnetGenerator(nn.Module):
    """The residual G: z (N, z_dim), labels (N,) or None -> images (N, C, S, S) in [-1, 1]; S is 16, 32, 64 or 128."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        g = spec.generator
        doublings = _halvings(image_size(spec, info))
        widths = [g.base_channels * min(2**i, _MAX_FACTOR) for i in reversed(range(doublings + 1))]
        self.join = join_to_z(spec.conditioning, len(info.classes))
        self.project = nn.Linear(g.z_dim + self.join.extra, widths[0] * _SEED_SIDE**2)
        blocks: list[nn.Module] = [UpBlock(*pair, _norm_of_g(spec, info)) for pair in itertools.pairwise(widths)]
        if g.self_attention:
            blocks.insert(doublings - 1, SelfAttention(widths[-2], g.attention_pooling))
        self.blocks = nn.Sequential(*blocks)
        self.to_image = nn.Sequential(
            nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), _conv(widths[-1], info.channels), nn.Tanh()
        )
        if g.spectral_norm:
            spectral_norm.normalise(self)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return G(z) for z (N, z_dim) and labels (N,) or None: images (N, C, S, S) in [-1, 1]."""
        h = self.project(self.join(z, labels))
        h = h.unflatten(1, (_SEED_SIDE, _SEED_SIDE, -1)).permute(0, 3, 1, 2)
        images: Tensor = self.to_image(apply_layers(self.blocks, h, labels))
        return images


class ResnetDiscriminator(Discriminator):
    """The residual D: images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        d, size = spec.discriminator, image_size(spec, info)
        widths = [d.base_channels * min(2**i, _MAX_FACTOR) for i in range(_halvings(size))]
        self.join = join_to_image(spec.conditioning.kind, len(info.classes), size)
        blocks: list[nn.Module] = [FirstDownBlock(info.channels + self.join.extra, widths[0])]
        if d.self_attention:
            blocks.append(SelfAttention(widths[0], d.attention_pooling))
        narrow = d.inner_channels == "input"
        blocks += [
            DownBlock(before, after, before if narrow else after) for before, after in itertools.pairwise(widths)
        ]
        self.blocks = nn.Sequential(*blocks, SameBlock(widths[-1]), nn.ReLU())
        self.head = DiscriminatorHead(spec, info, widths[-1])
        if d.spectral_norm:
            spectral_norm.normalise(self)

    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return phi(images), (N, F): the last map (N, F, 4, 4), summed over its positions."""
        h: Tensor = self.blocks(self.join(images, labels))
        return h.sum(dim=(2, 3))


class UpBlock(LabelConditioned):
    """A block of G that doubles the side: (N, before, S, S), labels (N,) or None -> (N, after, 2 S, 2 S).

    Its branch is norm, ReLU, upsampling, convolution, norm, ReLU, convolution; its shortcut is a 1 x 1 convolution.
    """

    def __init__(self, before: int, after: int, norm: Norm) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            norm(before),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
            _conv(before, after),
            norm(after),
            nn.ReLU(inplace=True),
            _conv(after, after),
        )
        self.shortcut = _shortcut(before, after)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return branch plus shortcut of x (N, before, S, S), (N, after, 2 S, 2 S)."""
        # A 1 x 1 convolution commutes with the upsampling; before it, it costs a quarter.
        return apply_layers(self.branch, x, labels) + F.interpolate(self.shortcut(x), scale_factor=2)


class FirstDownBlock(nn.Module):
    """The first block of D: (N, C, S, S) -> (N, after, S/2, S/2).

    It does not start with a ReLU, which would set all pixels below 0 to 0.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_conv(before, after), nn.ReLU(inplace=True), _conv(after, after), nn.AvgPool2d(2))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), _shortcut(before, after))

    def forward(self, x: Tensor) -> Tensor:
        """Return branch plus shortcut of x (N, C, S, S), (N, after, S/2, S/2)."""
        total: Tensor = self.branch(x) + self.shortcut(x)
        return total


class SameBlock(nn.Module):
    """The last block of D, ReLU, convolution, ReLU, convolution plus the input: (N, C, S, S) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = _d_branch(channels, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, S, S) plus its branch, of the same shape."""
        total: Tensor = x + self.branch(x)
        return total


class DownBlock(nn.Module):
    """A block of D that halves the side: (N, before, S, S) -> (N, after, S/2, S/2).

    Its branch is ReLU, convolution, ReLU, convolution, with `inner` channels between the convolutions; its shortcut
    is a 1 x 1 convolution. Their sum is average-pooled.

    `inner` is `before` in the code of SNGAN with projection, github.com/pfnet-research/sngan_projection, and `after`
    in that of SAGAN, github.com/brain-research/self-attention-gan. The papers do not say it.
    """

    def __init__(self, before: int, after: int, inner: int) -> None:
        super().__init__()
        self.branch = _d_branch(before, inner, after)
        self.shortcut = _shortcut(before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled sum of branch and shortcut of x (N, before, S, S), (N, after, S/2, S/2)."""
        # A 1 x 1 convolution commutes with the pooling; after it, it costs a quarter.
        total: Tensor = F.avg_pool2d(self.branch(x), 2) + self.shortcut(F.avg_pool2d(x, 2))
        return total


def initialise(network: nn.Module, source: torch.Generator) -> None:
    """Draw weights uniformly by fan-in and fan-out (Glorot and Bengio 2010).

    In the branches the range is sqrt(2) times wider, as in the paper.
    """
    fill(network, source, _glorot)


def _glorot(layer: Weighted, weight: Tensor, source: torch.Generator) -> None:
    in_branch = isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    nn.init.xavier_uniform_(weight, gain=math.sqrt(2.0) if in_branch else 1.0, generator=source)


def _halvings(size: int) -> int:
    """Return how many times `size` must be halved to reach 4."""
    count = size.bit_length() - _SEED_SIDE.bit_length()
    assert size == _SEED_SIDE << count and count >= 2
    return count


def _norm_of_g(spec: TrainSpec, info: DatasetInfo) -> Norm:
    if spec.conditional and spec.conditioning.generator == "conditional_batch_norm":
        return lambda channels: ConditionalBatchNorm2d(channels, len(info.classes))
    return nn.BatchNorm2d


def _d_branch(before: int, inner: int, after: int) -> nn.Module:
    # The first ReLU is not in place, because the shortcut needs its input.
    return nn.Sequential(nn.ReLU(), _conv(before, inner), nn.ReLU(inplace=True), _conv(inner, after))


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel_size=3, padding=1)


def _shortcut(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel_size=1)
