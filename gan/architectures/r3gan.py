"""R3GAN (Huang et al. 2024, arXiv:2501.05441, section 4), reduced so that a CPU trains it.

No normalisation anywhere. Both networks are residual bottlenecks (1 x 1, grouped 3 x 3, 1 x 1, LeakyReLU 0.2 between
them) with bilinear resampling. G begins with a learnt 4 x 4 map that [z, e(y)] scales channel by channel; D ends with
one weight a place and channel of its 4 x 4 map (a depthwise convolution) and a linear map. Depth is kept stable by
the first weights (Fixup: Zhang et al. 2019, arXiv:1901.09321): each branch begins as zero.

Reduced: one block a resolution where the paper has two, channels that halve as the side doubles, and an image that
enters and leaves by a 4 x 4 convolution of stride 2, so that no block works on its full side (a quarter of the cost).
"""

from __future__ import annotations

import itertools
import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.architectures.discriminator import Discriminator, DiscriminatorHead
from gan.conditioning import join_to_image, join_to_z
from gan.layers.filled import SeededInit, Weighted, fan_in, fill
from gan.layers.leaky_relu import leaky_relu_
from gan.spec import TrainSpec, image_size
from gan.spec.catalog import DatasetInfo

_SEED_SIDE: Final = 4
_WIDEST: Final = 8
# The paper's inverted bottleneck: the grouped convolution is twice as wide as what it reads and writes.
_EXPANSION: Final = 2
_GROUP_CHANNELS: Final = 16
_SLOPE: Final = 0.2


class R3ganGenerator(nn.Module):
    """z (N, z_dim), labels (N,) or None -> images (N, C, S, S) in [-1, 1]; S is 16, 32, 64 or 128."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        g = spec.generator
        widths = _widths(g.base_channels, image_size(spec, info))[::-1]
        self.join = join_to_z(spec.conditioning, len(info.classes))
        self.basis = LearnedConstant(g.z_dim + self.join.extra, widths[0])
        layers: list[nn.Module] = [ResidualBlock(widths[0])]
        for before, after in itertools.pairwise(widths):
            layers += [UpsampleStage(before, after), ResidualBlock(after)]
        to_image = nn.ConvTranspose2d(widths[-1], info.channels, kernel_size=4, stride=2, padding=1)
        self.layers = nn.Sequential(*layers, to_image, nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        images: Tensor = self.layers(self.basis(self.join(z, labels)))
        return images


class R3ganDiscriminator(Discriminator):
    """images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        size = image_size(spec, info)
        widths = _widths(spec.discriminator.base_channels, size)
        self.join = join_to_image(spec.conditioning.kind, len(info.classes), size)
        of_image = nn.Conv2d(info.channels + self.join.extra, widths[0], kernel_size=4, stride=2, padding=1)
        layers: list[nn.Module] = [of_image]
        for before, after in itertools.pairwise(widths):
            layers += [ResidualBlock(before), DownsampleStage(before, after)]
        self.layers = nn.Sequential(*layers, ResidualBlock(widths[-1]))
        self.pool = DepthwisePool(widths[-1])
        self.head = DiscriminatorHead(spec, info, widths[-1])

    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        h: Tensor = self.pool(self.layers(self.join(images, labels)))
        return h


class LearnedConstant(SeededInit):
    """z (N, F) -> (N, C, 4, 4): a learnt map, each channel of it times a linear function of z."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.empty(_SEED_SIDE, _SEED_SIDE, channels))
        self.scale = nn.Linear(features, channels)

    def forward(self, z: Tensor) -> Tensor:
        scaled: Tensor = self.map * self.scale(z)[:, None, None, :]
        return scaled.permute(0, 3, 1, 2)

    def fill(self, source: torch.Generator) -> None:
        nn.init.normal_(self.map, generator=source)


class ResidualBlock(nn.Module):
    """(N, C, H, W) -> the same shape: the input plus a bottleneck of it. It begins as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels * _EXPANSION
        self.first = nn.Conv2d(channels, inner, kernel_size=1)
        self.second = nn.Conv2d(inner, inner, kernel_size=3, padding=1, groups=_groups(inner))
        self.last = nn.Conv2d(inner, channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = leaky_relu_(self.first(x), _SLOPE)
        h = leaky_relu_(self.second(h), _SLOPE)
        total: Tensor = x + self.last(h)
        return total


class UpsampleStage(nn.Module):
    """(N, before, H, W) -> (N, after, 2 H, 2 W), bilinear."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.across = _across(before, after)

    def forward(self, x: Tensor) -> Tensor:
        # A 1 x 1 convolution without a bias says the same before the doubling, and costs a quarter.
        return F.interpolate(self.across(x), scale_factor=2, mode="bilinear")


class DownsampleStage(nn.Module):
    """(N, before, H, W) -> (N, after, H/2, W/2), bilinear: at half the side that is the mean of four."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.across = _across(before, after)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.across(F.avg_pool2d(x, 2))
        return h


class DepthwisePool(SeededInit):
    """(N, C, 4, 4) -> (N, C): a depthwise convolution over the whole map, one weight a place and channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(_SEED_SIDE, _SEED_SIDE, channels))

    def forward(self, x: Tensor) -> Tensor:
        return (x.permute(0, 2, 3, 1) * self.weight).sum(dim=(1, 2))

    def fill(self, source: torch.Generator) -> None:
        nn.init.normal_(self.weight, 0.0, 1 / _SEED_SIDE, generator=source)


def initialise(network: nn.Module, source: torch.Generator) -> None:
    """N(0, gain^2 / fan-in); in each of L branches two layers are L^(-1/4) smaller, and the last is zero (Fixup)."""
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    hidden = {layer for block in blocks for layer in (block.first, block.second)}
    last = {block.last for block in blocks}
    # What LeakyReLU takes from the mean square of a symmetric input, and Fixup's share.
    gain_of_hidden = math.sqrt(2 / (1 + _SLOPE**2)) * len(blocks) ** -0.25

    def draw(layer: Weighted, weight: Tensor, source: torch.Generator) -> None:
        gain = 0.0 if layer in last else gain_of_hidden if layer in hidden else 1.0
        nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in(layer)), generator=source)

    fill(network, source, draw)


def _widths(base: int, size: int) -> list[int]:
    """Channels of D's maps from size/2 down to 4 x 4: base, 2 base and so on; G's are the same, reversed."""
    halvings = size.bit_length() - _SEED_SIDE.bit_length()
    assert size == _SEED_SIDE << halvings and halvings >= 1
    return [base * min(2**i, _WIDEST) for i in range(halvings)]


def _groups(channels: int) -> int:
    """As many as leave `_GROUP_CHANNELS` channels or a few more to each."""
    return next(g for g in range(max(1, channels // _GROUP_CHANNELS), 0, -1) if channels % g == 0)


def _across(before: int, after: int) -> nn.Module:
    return nn.Identity() if before == after else nn.Conv2d(before, after, kernel_size=1, bias=False)
