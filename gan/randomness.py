"""Random numbers: independent streams, each determined by a seed, a purpose and a number.

Nothing in `gan` uses the global generators of Python, NumPy or PyTorch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def generator(seed: int, purpose: str, number: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator on `device` for the stream (`seed`, `purpose`, `number`).

    Its seed is a hash of the three, because PyTorch's CPU generator uses only the lower 32 bits of a seed.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big"))


def latents(z_distribution: str, count: int, z_dim: int, source: torch.Generator) -> Tensor:
    """Return z, (count, z_dim) on the device of `source`: N(0, 1) for "normal", U(-1, 1) for "uniform"."""
    if z_distribution == "normal":
        return torch.randn(count, z_dim, generator=source, device=source.device)
    assert z_distribution == "uniform"
    return torch.rand(count, z_dim, generator=source, device=source.device) * 2 - 1


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of a training step, n rows for a batch of n images.

    Each of several ranks draws the numbers of the whole batch and takes its own part, so that their streams stay
    synchronised.
    """

    source: torch.Generator
    rank: int = 0
    ranks: int = 1
    """The number of ranks."""

    @property
    def device(self) -> torch.device:
        """The device of the numbers."""
        return self.source.device

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Return samples of U(0, 1), (n, *shape)."""
        return self._mine(torch.rand(n * self.ranks, *shape, generator=self.source, device=self.device), n)

    def normal(self, n: int, *shape: int) -> Tensor:
        """Return samples of N(0, 1), (n, *shape)."""
        return self._mine(torch.randn(n * self.ranks, *shape, generator=self.source, device=self.device), n)

    def whole(self, below: int, n: int, *shape: int) -> Tensor:
        """Return uniform integers 0..below-1, (n, *shape)."""
        return self._mine(
            torch.randint(below, (n * self.ranks, *shape), generator=self.source, device=self.device), n
        )

    def latents(self, z_distribution: str, n: int, z_dim: int) -> Tensor:
        """Return z, (n, z_dim), as the function `latents` does."""
        return self._mine(latents(z_distribution, n * self.ranks, z_dim, self.source), n)

    def _mine(self, drawn: Tensor, n: int) -> Tensor:
        return drawn[self.rank * n : (self.rank + 1) * n]
