"""Spectral normalisation: W / sigma(W), where sigma is the largest singular value.

Miyato et al. 2018, arXiv:1802.05957. The implementation is torch's, which does one power iteration of the vectors u
and v per forward pass in train mode (algorithm 1), and none in eval mode.
"""

from __future__ import annotations

import copy
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

# The largest singular values of random matrices are close together; after so many iterations sigma is accurate to 1 %
# or 2 %.
_FIRST_ITERATIONS: Final = 100


class SpectralNorm(_SpectralNorm):
    """The parametrization weight -> weight / sigma, of the same shape. On the meta device it does not iterate."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return weight / sigma, computed in float32. In train mode, update u and v first."""
        # In float32: autocast would round u and v to bf16, and sigma would be accurate to three digits only.
        with torch.autocast("cpu" if weight.is_meta else weight.device.type, enabled=False):
            divided: Tensor = super().forward(weight)
        return divided

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        if not weight_mat.is_meta:
            super()._power_method(weight_mat, n_power_iterations)


def normalise(network: nn.Module) -> None:
    """Add spectral normalisation to all linear and convolutional layers of `network`; embeddings stay as they are."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            # The outputs of a transposed convolution are its second dimension.
            dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight, dim=dim), unsafe=True)


def trained_weight(layer: nn.Module) -> Tensor:
    """Return the weight that the optimizer updates: with spectral normalisation, the weight before the division."""
    if parametrize.is_parametrized(layer, "weight"):
        return cast(Tensor, layer.parametrizations["weight"].original)  # type: ignore[index, union-attr]
    return cast(Tensor, layer.weight)


@torch.no_grad()
def init_power_iteration(network: nn.Module, source: torch.Generator) -> None:
    """Draw every u and v of `network` from `source`, and iterate until they fit its current weights."""
    for layer in network.modules():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        (norm,) = layer.parametrizations["weight"]  # type: ignore[index]
        assert isinstance(norm, SpectralNorm)
        for vector in (norm._u, norm._v):
            vector.copy_(F.normalize(torch.randn(vector.shape, generator=source), dim=0))
        norm._power_method(norm._reshape_weight_to_matrix(trained_weight(layer)), _FIRST_ITERATIONS)


def without_spectral_norm(network: nn.Module) -> nn.Module:
    """Return a copy with plain layers that computes the same: their weights are the current weights over sigma."""
    plain = copy.deepcopy(network)
    for layer in list(plain.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            weight = nn.Parameter(cast(Tensor, layer.weight).detach())
            # torch's remove_parametrizations changes the layer's class, which a copy shares with its original.
            layer.__class__ = parametrize.type_before_parametrizations(layer)
            del layer.parametrizations
            layer.register_parameter("weight", weight)
    return plain
