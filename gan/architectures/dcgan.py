"""Deep convolutional GAN (Radford, Metz and Chintala 2015, arXiv:1511.06434).

The paper's rules (section 3): strided convolutions instead of pooling; BatchNorm after all layers except G's last and
D's first; ReLU in G, with Tanh as its output; LeakyReLU 0.2 in D; weights from N(0, 0.02^2).

A spec can replace BatchNorm by another norm or by none. A network with neither BatchNorm nor virtual BatchNorm draws
its weights by their fan-in, because no batch statistics correct the scale of its activations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from gan.architectures.discriminator import Discriminator, DiscriminatorHead
from gan.conditioning import join_to_image, join_to_z
from gan.layers import spectral_norm
from gan.layers.attention import SelfAttention
from gan.layers.conditional_batchnorm import ConditionalBatchNorm2d
from gan.layers.label_conditioned import apply_layers
from gan.layers.leaky_relu import LeakyReLU
from gan.layers.seeded_init import Weighted, fill, he_normal
from gan.layers.virtual_batchnorm import REFERENCE_SIZE, ReferenceBatch, VirtualBatchNorm2d
from gan.spec import TrainSpec, image_size
from gan.spec.catalog import DatasetInfo

_SEED_SIDE: Final = 4
# The widest map has this many times the channels of the narrowest, as in the paper.
_MAX_FACTOR: Final = 8

Norm = Callable[[int], nn.Module]


class DcganGenerator(nn.Module):
    """DCGAN's G: z (N, z_dim), labels (N,) or None -> images (N, C, S, S) in [-1, 1]; S is 16, 32, 64 or 128."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        g, classes = spec.generator, len(info.classes)
        widths = _widths(g.base_channels, image_size(spec, info))[::-1]
        bias = g.normalization == "none"
        self.join = join_to_z(spec.conditioning, classes)
        # The paper's "project and reshape": a matrix product to a 4 x 4 map.
        self.project = nn.Linear(g.z_dim + self.join.extra, widths[0] * _SEED_SIDE**2, bias=bias)
        layers: list[nn.Module] = [_norm_of_g(spec, info, widths[0]), nn.ReLU(inplace=True)]
        for before, after in itertools.pairwise(widths):
            layers += [_upsample(before, after, bias), _norm_of_g(spec, info, after), nn.ReLU(inplace=True)]
        if g.self_attention:
            layers.append(SelfAttention(widths[-1], g.attention_pooling))
        self.layers = nn.Sequential(*layers, _upsample(widths[-1], info.channels, bias), nn.Tanh())
        virtual, used_classes = g.normalization == "virtual_batch", classes if spec.conditional else 0
        self.reference = ReferenceBatch(g.z_dim, g.z_distribution, used_classes) if virtual else None
        if g.spectral_norm:
            spectral_norm.normalise(self)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return G(z) for z (N, z_dim) and labels (N,) or None: images (N, C, S, S) in [-1, 1]."""
        if self.reference is None:
            return self._generate(z, labels)
        return self._generate(*self.reference.prepend(z, labels))[REFERENCE_SIZE:]

    def _generate(self, z: Tensor, labels: Tensor | None) -> Tensor:
        h = self.project(self.join(z, labels))
        # Channels last, the layout in which the convolutions are fastest.
        h = h.unflatten(1, (_SEED_SIDE, _SEED_SIDE, -1)).permute(0, 3, 1, 2)
        return apply_layers(self.layers, h, labels)


class DcganDiscriminator(Discriminator):
    """DCGAN's D: images (N, C, S, S) in [-1, 1], labels (N,) or None -> logits (N,)."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        super().__init__()
        d, size = spec.discriminator, image_size(spec, info)
        widths = _widths(d.base_channels, size)
        norm, bias = _NORM_OF_D[d.normalization], d.normalization == "none"
        self.join = join_to_image(spec.conditioning.kind, len(info.classes), size)
        layers: list[nn.Module] = [_downsample(info.channels + self.join.extra, widths[0], bias), LeakyReLU(0.2)]
        if d.self_attention:
            layers.append(SelfAttention(widths[0], d.attention_pooling))
        for before, after in itertools.pairwise(widths):
            layers += [_downsample(before, after, bias), norm(after), LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.head = DiscriminatorHead(spec, info, widths[-1] * _SEED_SIDE**2, bias=bias)
        if d.spectral_norm:
            spectral_norm.normalise(self)

    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return phi(images), (N, F): the last map (N, F/16, 4, 4), flattened with its channels last."""
        h: Tensor = self.layers(self.join(images, labels))
        return h.permute(0, 2, 3, 1).flatten(1)


def initialise(network: nn.Module, source: torch.Generator) -> None:
    """Draw weights from N(0, 0.02^2), BatchNorm's scales from N(1, 0.02^2), and embeddings from N(0, 1).

    The paper has no embeddings. In a network without batch statistics, `he_normal` draws the weights.
    """
    rescaled = any(isinstance(m, nn.BatchNorm2d | VirtualBatchNorm2d) for m in network.modules())
    fill(network, source, _normal if rescaled else he_normal, norm_deviation=0.02)


def _normal(layer: Weighted, weight: Tensor, source: torch.Generator) -> None:
    nn.init.normal_(weight, 0.0, 0.02, generator=source)


def _widths(base: int, size: int) -> list[int]:
    """Return the channels of D's maps from size/2 down to 4 x 4: base, 2 base, 4 base, ...; G's are the reverse."""
    halvings = size.bit_length() - _SEED_SIDE.bit_length()
    assert size == _SEED_SIDE << halvings and halvings >= 1
    return [base * min(2**i, _MAX_FACTOR) for i in range(halvings)]


def _norm_of_g(spec: TrainSpec, info: DatasetInfo, channels: int) -> nn.Module:
    if spec.conditional and spec.conditioning.generator == "conditional_batch_norm":
        return ConditionalBatchNorm2d(channels, len(info.classes))
    return _NORM_OF_G[spec.generator.normalization](channels)


_NORM_OF_G: Final[dict[str, Norm]] = {
    "batch": nn.BatchNorm2d,
    "virtual_batch": VirtualBatchNorm2d,
    "none": nn.Identity,
}
_NORM_OF_D: Final[dict[str, Norm]] = {
    "batch": nn.BatchNorm2d,
    # Over the channels and positions of each image alone (Ba et al. 2016, arXiv:1607.06450), as in WGAN-GP's critics.
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "none": nn.Identity,
}


def _upsample(before: int, after: int, bias: bool) -> nn.Module:
    return nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=bias)


def _downsample(before: int, after: int, bias: bool) -> nn.Module:
    return nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=bias)
