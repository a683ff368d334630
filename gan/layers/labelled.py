"""Layers that are told the class of each example, and how they stand in a row with layers that are not."""

from __future__ import annotations

from torch import Tensor, nn


class LabelConditioned(nn.Module):
    """A layer with `forward(x, labels)`: labels is (N,) int64, or None where nothing is conditional."""


def through(layers: nn.Sequential, x: Tensor, labels: Tensor | None) -> Tensor:
    """`x` through `layers`, one after another; those that are `LabelConditioned` get the labels too."""
    for layer in layers:
        x = layer(x, labels) if isinstance(layer, LabelConditioned) else layer(x)
    return x
