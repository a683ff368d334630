"""A network together with its optimizer and, with historical averaging, its past weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan.adversarial.historical_averaging import HistoricalAveraging
from gan.adversarial.optimizers import optimizer_of
from gan.spec.fields import TrainSpec


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One network in train mode, what moves it, and its past where that counts."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    history: HistoricalAveraging | None

    @contextmanager
    def move(self) -> Iterator[list[Tensor]]:
        """Around one update: where what the block appends says "vetoed", the buffers are put back as well."""
        before = [buffer.clone() for buffer in self.network.buffers()]
        said: list[Tensor] = []
        yield said
        (vetoed,) = said
        for buffer, old in zip(self.network.buffers(), before, strict=True):
            buffer.copy_(torch.where(vetoed, old, buffer))
        if self.history is not None:
            self.history.update()


def trained_networks(G: nn.Module, D: nn.Module, spec: TrainSpec) -> tuple[TrainedNetwork, TrainedNetwork]:
    """G and D with the optimizers and the past that `spec` gives them."""
    remembers: Sequence[HistoricalAveraging | None] = (
        (HistoricalAveraging(G), HistoricalAveraging(D)) if spec.stabilizers.historical_averaging else (None, None)
    )
    return (
        TrainedNetwork(G, optimizer_of(G, spec.optimizers.g), remembers[0]),
        TrainedNetwork(D, optimizer_of(D, spec.optimizers.d), remembers[1]),
    )
