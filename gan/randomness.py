"""Where every random number comes from: named streams, each a function of a seed, a purpose and a number.

Nothing in `gan` draws from the global generators of python, numpy or torch.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, number: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on `device` for the stream (`seed`, `purpose`, `number`).

    Hashed, because torch's CPU generator looks at the lower 32 bits of its seed only.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big"))


def latents(z_distribution: str, count: int, z_dim: int, source: torch.Generator) -> torch.Tensor:
    """z, (count, z_dim) on the device of `source`: N(0, 1) for "normal", U(-1, 1) for "uniform"."""
    if z_distribution == "normal":
        return torch.randn(count, z_dim, generator=source, device=source.device)
    assert z_distribution == "uniform"
    return torch.rand(count, z_dim, generator=source, device=source.device) * 2 - 1
