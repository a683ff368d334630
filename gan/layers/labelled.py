"""Layers that are told the class of each example, and how they stand in a row with layers that are not."""

from __future__ import annotations

from torch import Tensor, nn


class Labelled(nn.Module):
    """A layer with `forward(x, labels)`: labels is (N,) int64, or None where nothing is conditional."""


def through(layers: nn.Sequential, x: Tensor, labels: Tensor | None) -> Tensor:
    """`x` through `layers`, one after another; those that are `Labelled` get the labels too."""
    for layer in layers:
        x = layer(x, labels) if isinstance(layer, Labelled) else layer(x)
    return x
