"""To hold a network still: computing as in training, or as in drawing, no parameter and no buffer of it moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Inside, `network` computes as it does in training, but no parameter and no buffer of it moves.

    A BatchNorm in train mode that does not track its statistics normalises by the batch and leaves its buffers alone.
    A spectral norm in eval mode divides by the singular value it knows, without another power iteration.
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
    """Inside, `network` is in eval mode: nothing in it moves. Afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
