"""A network together with its optimizer and, for historical averaging, the mean of its past weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan.adversarial.historical_averaging import HistoricalAveraging
from gan.adversarial.optimizers import optimizer_of
from gan.spec.fields import TrainSpec


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One network in train mode, its optimizer, and the mean of its past weights if its loss depends on it."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    history: HistoricalAveraging | None

    def copy_buffers(self) -> list[Tensor]:
        """Return a copy of each buffer, such as BatchNorm's statistics, for `finish_update`."""
        return [buffer.clone() for buffer in self.network.buffers()]

    def finish_update(self, buffers_before: Sequence[Tensor], skipped: Tensor) -> None:
        """Complete one update of the weights.

        Where `skipped`, a boolean scalar on the device, is true, the buffers are set back to `buffers_before`. The
        choice is made on the device, so that the CPU does not wait for it.
        """
        for buffer, before in zip(self.network.buffers(), buffers_before, strict=True):
            buffer.copy_(torch.where(skipped, before, buffer))
        if self.history is not None:
            self.history.update()


def trained_networks(G: nn.Module, D: nn.Module, spec: TrainSpec) -> tuple[TrainedNetwork, TrainedNetwork]:
    """Return G and D, each with the optimizer and the history that `spec` gives it."""
    g_history, d_history = (
        (HistoricalAveraging(G), HistoricalAveraging(D)) if spec.stabilizers.historical_averaging else (None, None)
    )
    return (
        TrainedNetwork(G, optimizer_of(G, spec.optimizers.g), g_history),
        TrainedNetwork(D, optimizer_of(D, spec.optimizers.d), d_history),
    )
