"""First weights: every parameter and buffer of a network, drawn from one `torch.Generator`.

Networks are built on torch's meta device and then get uninitialised memory. So everything that a network holds must
be written here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan.layers.spectral_norm import init_power_iteration, trained_weight

Weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
"""The layers that have a weight to draw."""
WeightInit = Callable[[Weighted, Tensor, torch.Generator], None]
"""(layer, its weight, source) -> None: writes the weight, from the distribution that a family of networks uses."""


class SeededInit(nn.Module):
    """A layer that writes its own parameters and buffers, but not those of the layers inside it."""

    @abstractmethod
    def fill(self, source: torch.Generator) -> None:
        """Write every parameter and buffer of the layer itself."""


def fill(network: nn.Module, source: torch.Generator, init: WeightInit, norm_deviation: float = 0.0) -> None:
    """Write every parameter and buffer of `network`.

    Weights are drawn by `init`, biases are zero, scales of norms come from N(1, norm_deviation^2) and embeddings of
    labels from N(0, 1).
    """
    for module in network.modules():
        if isinstance(module, Weighted):
            init(module, trained_weight(module), source)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            _fill_norm(module, source, norm_deviation)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=source)
        elif isinstance(module, SeededInit):
            module.fill(source)
    init_power_iteration(network, source)


def fan_in(layer: Weighted) -> float:
    """Return the number of inputs that one output of `layer` sums over, away from the border."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    inputs = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    # A transposed convolution writes its kernel once per input, and has stride times as many outputs along each side.
    return inputs / math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else inputs


def he_normal(layer: Weighted, weight: Tensor, source: torch.Generator) -> None:
    """Draw `weight` from N(0, 2 / fan-in), for a ReLU after it (He et al. 2015, arXiv:1502.01852, equation 10).

    The weight of a Linear comes from N(0, 1 / fan-in): it is the first or last layer of its network, where no ReLU
    halves the mean square.
    """
    gain = 1.0 if isinstance(layer, nn.Linear) else math.sqrt(2.0)
    nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in(layer)), generator=source)


def _fill_norm(norm: nn.BatchNorm2d | nn.GroupNorm, source: torch.Generator, deviation: float) -> None:
    if norm.affine:
        nn.init.normal_(norm.weight, 1.0, deviation, generator=source)
        nn.init.zeros_(norm.bias)
    if isinstance(norm, nn.BatchNorm2d):
        norm.reset_running_stats()
