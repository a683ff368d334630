"""Context managers that keep a network unchanged while it computes, in train mode or in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Freeze `network`: inside, it computes as in training, but none of its parameters and buffers changes.

    A BatchNorm in train mode that does not track its statistics normalises by the batch and leaves its buffers
    unchanged. A spectral norm in eval mode divides by the singular value that it has stored, without another power
    iteration.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    iterating = [m for m in network.modules() if isinstance(m, _SpectralNorm) and m.training]
    network.requires_grad_(False)
    for norm in norms:
        norm.track_running_stats = False
    for spectral in iterating:
        spectral.eval()
    try:
        yield
    finally:
        for spectral in iterating:
            spectral.train()
        for norm in norms:
            norm.track_running_stats = True
        network.requires_grad_(True)


@contextmanager
def in_eval(network: nn.Module) -> Iterator[None]:
    """Put `network` into eval mode, in which its buffers do not change; restore each module's mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
