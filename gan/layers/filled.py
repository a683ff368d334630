"""First weights: every parameter and buffer of a network, from one `torch.Generator`.

Networks are built without memory (torch's meta device) and then given some that holds anything at all, so what is
not filled here is not a number to rely on.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan.layers.spectral_norm import learnt, settle

Weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
Draw = Callable[[Weighted, Tensor, torch.Generator], None]
"""(layer, its weight, source): fills the weight. A family's own choice of distribution."""


class SeededInit(nn.Module):
    """A layer that fills what it holds itself, save for the layers inside it."""

    @abstractmethod
    def fill(self, source: torch.Generator) -> None:
        """Write every parameter and buffer."""


def fill(network: nn.Module, source: torch.Generator, draw: Draw, norm_deviation: float = 0.0) -> None:
    """Weights by `draw`, biases zero, norms from N(1, norm_deviation), embeddings of labels from N(0, 1)."""
    for module in network.modules():
        if isinstance(module, Weighted):
            draw(module, learnt(module), source)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            _fill_norm(module, source, norm_deviation)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=source)
        elif isinstance(module, SeededInit):
            module.fill(source)
    settle(network, source)


def fan_in(layer: Weighted) -> float:
    """How many inputs one output of `layer` is a sum of, away from the borders."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    inputs = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    # A transposed convolution lays its kernel once an input, and the outputs are stride times as many a side.
    return inputs / math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else inputs


def he(layer: Weighted, weight: Tensor, source: torch.Generator) -> None:
    """N(0, 2 / fan-in), for a ReLU behind it (He et al. 2015, arXiv:1502.01852, equation 10).

    Of a Linear N(0, 1 / fan-in): it stands at an end of its network, where no ReLU halves what passes.
    """
    gain = 1.0 if isinstance(layer, nn.Linear) else math.sqrt(2.0)
    nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in(layer)), generator=source)


def _fill_norm(norm: nn.BatchNorm2d | nn.GroupNorm, source: torch.Generator, deviation: float) -> None:
    if norm.affine:
        nn.init.normal_(norm.weight, 1.0, deviation, generator=source)
        nn.init.zeros_(norm.bias)
    if isinstance(norm, nn.BatchNorm2d):
        norm.reset_running_stats()
