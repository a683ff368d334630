"""The streams of random numbers."""

from __future__ import annotations

import torch

from gan.randomness import generator, latents


def draw(*stream: int | str) -> list[float]:
    """Return the first four numbers of a stream."""
    return torch.rand(4, generator=generator(*stream)).tolist()  # type: ignore[arg-type]


def test_a_stream_depends_on_seed_purpose_and_number() -> None:
    assert draw(1, "a", 0) == draw(1, "a", 0)
    others = [draw(1, "a", 1), draw(1, "b", 0), draw(2, "a", 0), draw(1 + 2**32, "a", 0), draw(2**63 - 1, "a", 0)]
    assert all(draw(1, "a", 0) != other for other in others)


def test_latents_have_the_requested_distribution() -> None:
    normal = latents("normal", 4000, 4, generator(0, "n"))
    uniform = latents("uniform", 4000, 4, generator(0, "u"))
    assert abs(normal.mean().item()) < 0.05
    assert abs(normal.std().item() - 1) < 0.05
    assert normal.abs().max() > 3
    assert uniform.abs().max() <= 1
    assert abs(uniform.var().item() - 1 / 3) < 0.02
