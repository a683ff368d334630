"""R3GAN (Huang et al. 2024, arXiv:2501.05441, section 4), reduced so that a CPU can train it.

There is no normalisation. Both networks consist of residual bottlenecks (1 x 1, grouped 3 x 3, 1 x 1 convolutions
with LeakyReLU 0.2 between them) and bilinear resampling. G starts with a learned 4 x 4 map whose channels [z, e(y)]
scales. D ends with a depthwise convolution over its whole 4 x 4 map and a linear layer. The first weights keep a deep
network stable (Fixup: Zhang et al. 2019, arXiv:1901.09321): every residual branch outputs zero at first.

Reductions: one block per resolution instead of two; the channels halve where the side doubles; a 4 x 4 convolution of
stride 2 reads and writes the image, so that no block works at the full side, which costs a quarter.
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
from gan.layers.leaky_relu import leaky_relu_
from gan.layers.seeded_init import SeededInit, Weighted, fan_in, fill
from gan.spec import TrainSpec, image_size
from gan.spec.catalog import DatasetInfo

_SEED_SIDE: Final = 4
# The widest map has this many times the channels of the narrowest.
_MAX_FACTOR: Final = 8
# The paper's inverted bottleneck: the grouped convolution has twice the channels of the block's input and output.
_EXPANSION: Final = 2
_GROUP_CHANNELS: Final = 16
_SLOPE: Final = 0.2


class R3ganGenerator(nn.Module):
    """R3GAN's G: z (N, z_dim), labels (N,) or None -> images (N, C, S, S) in [-1, 1]; S is 16, 32, 64 or 128."""

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
        """Return G(z) for z (N, z_dim) and labels (N,) or None: images (N, C, S, S) in [-1, 1]."""
        images: Tensor = self.layers(self.basis(self.join(z, labels)))
        return images


class R3ganDiscriminator(Discriminator):
    """R3GAN's D: images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        size = image_size(spec, info)
        widths = _widths(spec.discriminator.base_channels, size)
        self.join = join_to_image(spec.conditioning.kind, len(info.classes), size)
        from_image = nn.Conv2d(info.channels + self.join.extra, widths[0], kernel_size=4, stride=2, padding=1)
        layers: list[nn.Module] = [from_image]
        for before, after in itertools.pairwise(widths):
            layers += [ResidualBlock(before), DownsampleStage(before, after)]
        self.layers = nn.Sequential(*layers, ResidualBlock(widths[-1]))
        self.pool = DepthwisePool(widths[-1])
        self.head = DiscriminatorHead(spec, info, widths[-1])

    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return phi(images), (N, F): the last map (N, F, 4, 4), pooled with learned weights."""
        h: Tensor = self.pool(self.layers(self.join(images, labels)))
        return h


class LearnedConstant(SeededInit):
    """A learned map whose channels a linear function of z scales: z (N, F) -> (N, C, 4, 4)."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.empty(_SEED_SIDE, _SEED_SIDE, channels))
        self.scale = nn.Linear(features, channels)

    def forward(self, z: Tensor) -> Tensor:
        """Return the map scaled by z (N, F), (N, C, 4, 4)."""
        scaled: Tensor = self.map * self.scale(z)[:, None, None, :]
        return scaled.permute(0, 3, 1, 2)

    def fill(self, source: torch.Generator) -> None:
        """Draw the map from N(0, 1)."""
        nn.init.normal_(self.map, generator=source)


class ResidualBlock(nn.Module):
    """The input plus its bottleneck: (N, C, H, W) -> the same shape. At first it is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels * _EXPANSION
        self.first = nn.Conv2d(channels, inner, kernel_size=1)
        self.second = nn.Conv2d(inner, inner, kernel_size=3, padding=1, groups=_groups(inner))
        self.last = nn.Conv2d(inner, channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, H, W) plus its bottleneck, of the same shape."""
        h = leaky_relu_(self.first(x), _SLOPE)
        h = leaky_relu_(self.second(h), _SLOPE)
        total: Tensor = x + self.last(h)
        return total


class UpsampleStage(nn.Module):
    """A 1 x 1 convolution and bilinear upsampling: (N, before, H, W) -> (N, after, 2 H, 2 W)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.across = _change_channels(before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, before, H, W) with twice the side, (N, after, 2 H, 2 W)."""
        # A 1 x 1 convolution without a bias commutes with the upsampling; before it, it costs a quarter.
        return F.interpolate(self.across(x), scale_factor=2, mode="bilinear")


class DownsampleStage(nn.Module):
    """Bilinear downsampling (a mean of 2 x 2) and a 1 x 1 convolution: (N, before, H, W) -> (N, after, H/2, W/2)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.across = _change_channels(before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, before, H, W) with half the side, (N, after, H/2, W/2)."""
        h: Tensor = self.across(F.avg_pool2d(x, 2))
        return h


class DepthwisePool(SeededInit):
    """A depthwise convolution over the whole map, one weight per position and channel: (N, C, 4, 4) -> (N, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(_SEED_SIDE, _SEED_SIDE, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of x (N, C, 4, 4) over its 16 positions, (N, C)."""
        return (x.permute(0, 2, 3, 1) * self.weight).sum(dim=(1, 2))

    def fill(self, source: torch.Generator) -> None:
        """Draw the weights from N(0, 1/16), 1 over the number of positions."""
        nn.init.normal_(self.weight, 0.0, 1 / _SEED_SIDE, generator=source)


def initialise(network: nn.Module, source: torch.Generator) -> None:
    """Draw weights from N(0, gain^2 / fan-in), with Fixup in the residual branches.

    With L branches, the first two layers of each branch are scaled by L^(-1/4), and the last layer is zero.
    """
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    hidden = {layer for block in blocks for layer in (block.first, block.second)}
    last = {block.last for block in blocks}
    # LeakyReLU multiplies the mean square of a symmetric input by (1 + slope^2) / 2; the second factor is Fixup's.
    hidden_gain = math.sqrt(2 / (1 + _SLOPE**2)) * len(blocks) ** -0.25

    def draw(layer: Weighted, weight: Tensor, source: torch.Generator) -> None:
        gain = 0.0 if layer in last else hidden_gain if layer in hidden else 1.0
        nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in(layer)), generator=source)

    fill(network, source, draw)


def _widths(base: int, size: int) -> list[int]:
    """Return the channels of D's maps from size/2 down to 4 x 4: base, 2 base, 4 base, ...; G's are the reverse."""
    halvings = size.bit_length() - _SEED_SIDE.bit_length()
    assert size == _SEED_SIDE << halvings and halvings >= 1
    return [base * min(2**i, _MAX_FACTOR) for i in range(halvings)]


def _groups(channels: int) -> int:
    """Return the largest number of groups, at least 1, of equal size and of at least `_GROUP_CHANNELS` channels."""
    return next(g for g in range(max(1, channels // _GROUP_CHANNELS), 0, -1) if channels % g == 0)


def _change_channels(before: int, after: int) -> nn.Module:
    return nn.Identity() if before == after else nn.Conv2d(before, after, kernel_size=1, bias=False)
