"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957): W / sigma(W), sigma the largest singular value.

torch's own, which turns the vectors u and v one power iteration a forward pass in train mode (algorithm 1), and none
in eval mode.
"""

from __future__ import annotations

import copy
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

# Random matrices have their largest singular values close together: after so many, sigma is within 1 % or 2.
_FIRST_ITERATIONS: Final = 100


class SpectralNorm(_SpectralNorm):
    """weight -> weight / sigma, the same shape. On the meta device, which has no numbers, it does not iterate."""

    def forward(self, weight: Tensor) -> Tensor:
        # In full precision: autocast would round u and v to bf16, in which sigma is known to three digits.
        with torch.autocast("cpu" if weight.is_meta else weight.device.type, enabled=False):
            divided: Tensor = super().forward(weight)
        return divided

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        if not weight_mat.is_meta:
            super()._power_method(weight_mat, n_power_iterations)


def normalise(network: nn.Module) -> None:
    """Divide every weight of `network` that images or latents pass through; embeddings of labels are left alone."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            # Of a transposed convolution the outputs are the second dimension.
            dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight, dim=dim), unsafe=True)


def learnt(layer: nn.Module) -> Tensor:
    """The weight that the optimizer moves: before it is divided, where it is."""
    if parametrize.is_parametrized(layer, "weight"):
        return cast(Tensor, layer.parametrizations["weight"].original)  # type: ignore[index, union-attr]
    return cast(Tensor, layer.weight)


@torch.no_grad()
def settle(network: nn.Module, source: torch.Generator) -> None:
    """Draw every u and v of `network` from `source`, and turn them to the weights that are there now."""
    for layer in network.modules():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        (division,) = layer.parametrizations["weight"]  # type: ignore[index]
        assert isinstance(division, SpectralNorm)
        for vector in (division._u, division._v):
            vector.copy_(F.normalize(torch.randn(vector.shape, generator=source), dim=0))
        division._power_method(division._reshape_weight_to_matrix(learnt(layer)), _FIRST_ITERATIONS)


def divided_out(network: nn.Module) -> nn.Module:
    """A copy that computes the same with plain layers, whose weights are those of now, divided."""
    plain = copy.deepcopy(network)
    for layer in list(plain.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            weight = nn.Parameter(cast(Tensor, layer.weight).detach())
            # Not torch's remove_parametrizations: a copy shares its class with the original, which that would break.
            layer.__class__ = parametrize.type_before_parametrizations(layer)
            del layer.parametrizations
            layer.register_parameter("weight", weight)
    return plain
