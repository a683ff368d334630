"""Where every random number comes from: named streams, each a function of a seed, a purpose and a number.

Nothing in `gan` draws from the global generators of python, numpy or torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def generator(seed: int, purpose: str, number: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on `device` for the stream (`seed`, `purpose`, `number`).

    Hashed, because torch's CPU generator looks at the lower 32 bits of its seed only.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big"))


def latents(z_distribution: str, count: int, z_dim: int, source: torch.Generator) -> Tensor:
    """z, (count, z_dim) on the device of `source`: N(0, 1) for "normal", U(-1, 1) for "uniform"."""
    if z_distribution == "normal":
        return torch.randn(count, z_dim, generator=source, device=source.device)
    assert z_distribution == "uniform"
    return torch.rand(count, z_dim, generator=source, device=source.device) * 2 - 1


@dataclass(frozen=True, eq=False)
class Draws:
    """Training's noise: what is drawn for a batch of n images has n rows.

    Of several ranks each draws the whole batch's and takes its own part, so that all streams stay together.
    """

    source: torch.Generator
    rank: int = 0
    ranks: int = 1

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self.source.device

    def uniform(self, n: int, *shape: int) -> Tensor:
        """U(0, 1), (n, *shape)."""
        return self._mine(torch.rand(n * self.ranks, *shape, generator=self.source, device=self.device), n)

    def normal(self, n: int, *shape: int) -> Tensor:
        """N(0, 1), (n, *shape)."""
        return self._mine(torch.randn(n * self.ranks, *shape, generator=self.source, device=self.device), n)

    def whole(self, below: int, n: int, *shape: int) -> Tensor:
        """Whole numbers 0..below-1, (n, *shape)."""
        return self._mine(
            torch.randint(below, (n * self.ranks, *shape), generator=self.source, device=self.device), n
        )

    def latents(self, z_distribution: str, n: int, z_dim: int) -> Tensor:
        """z, (n, z_dim)."""
        return self._mine(latents(z_distribution, n * self.ranks, z_dim, self.source), n)

    def _mine(self, drawn: Tensor, n: int) -> Tensor:
        return drawn[self.rank * n : (self.rank + 1) * n]
