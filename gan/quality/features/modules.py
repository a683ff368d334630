"""The modules of feature networks: five convolutions and a mean over the image, or the pixels of tiny images."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.nn.utils.fusion import fuse_conv_bn_weights

WIDTHS: Final = (16, 32, 64, 128, 128)
# The strides of the five convolutions, by the number of times that the side must be halved to reach about 8 pixels.
# Larger images are halved earlier, so that an image of 128 costs a few times one of 32, and not sixteen times.
_STRIDES: Final = ((1, 1, 1, 1, 1), (1, 1, 1, 2, 1), (1, 2, 1, 2, 1), (2, 2, 1, 2, 1), (2, 2, 2, 2, 1))
_LAST_SIDE: Final = 8


class FeatureOutput(NamedTuple):
    """The outputs of a feature network for N images."""

    features: Tensor
    """(N, F)."""
    logits: Tensor
    """(N, outputs): those of the classes, or of the four rotations."""


class Convolutions(nn.Module):
    """A convolutional feature network: images (N, C, S, S) in [-1, 1] -> 128 features, all >= 0, and linear logits.

    With `normalise` it has BatchNorm, for training; without, it is in the form that is stored (`fuse_batch_norm`).
    """

    def __init__(self, channels: int, side: int, outputs: int, normalise: bool) -> None:
        super().__init__()
        ins = (channels, *WIDTHS[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride, 1, bias=not normalise)
            for i, o, stride in zip(ins, WIDTHS, strides(side), strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) if normalise else nn.Identity() for o in WIDTHS)
        self.head = nn.Linear(WIDTHS[-1], outputs)

    def forward(self, images: Tensor) -> FeatureOutput:
        """Return features (N, 128) and logits (N, outputs)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)), inplace=True)
        features = x.mean((2, 3))
        return FeatureOutput(features, self.head(features))


class Pixels(nn.Module):
    """A feature network for tiny images (N, C, H, W), float64 in [-1, 1]: the pixels are the features.

    The classifier is the nearest class mean: a Gaussian around each of `means` (K, C H W), all with one `variance`
    ().
    """

    means: Tensor
    variance: Tensor

    def __init__(self, means: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.register_buffer("means", means)
        self.register_buffer("variance", variance)

    def forward(self, images: Tensor) -> FeatureOutput:
        """Return features (N, C H W), float64, and logits (N, K)."""
        features = images.flatten(1)
        squares = (features[:, None] - self.means).square().sum(2)
        return FeatureOutput(features, -squares / (2 * self.variance))


def strides(side: int) -> tuple[int, ...]:
    """Return the stride of each convolution for images of `side` pixels."""
    halvings = math.ceil(math.log2(max(side, 1) / _LAST_SIDE)) if side > _LAST_SIDE else 0
    return _STRIDES[min(halvings, len(_STRIDES) - 1)]


def empty(
    channels: int, side: int, outputs: int, normalise: bool, device: torch.device | str = "cpu"
) -> Convolutions:
    """Return `Convolutions` with uninitialised weights: torch would draw them from its global generator."""
    with torch.device("meta"):
        network = Convolutions(channels, side, outputs, normalise)
    network.to_empty(device=device)
    convert_conv2d_weight_memory_format(network, torch.channels_last)
    return network


def initialise(network: Convolutions, source: torch.Generator) -> None:
    """Draw weights by fan-in for ReLU (He et al. 2015, arXiv:1502.01852); BatchNorm is the identity at first."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=source)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()


def fuse_batch_norm(network: Convolutions, channels: int, side: int) -> Convolutions:
    """Return a network in eval mode that computes the same, with every BatchNorm folded into its convolution.

    It takes half the time and has fewer tensors.
    """
    device = network.head.weight.device
    plain = empty(channels, side, network.head.out_features, normalise=False, device=device)
    for conv, norm, into in zip(network.convs, network.norms, plain.convs, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(into, nn.Conv2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        into.load_state_dict({"weight": weight, "bias": bias})
    plain.head.load_state_dict(network.head.state_dict())
    return plain.requires_grad_(False).eval()
