"""Layers that take the class label of each image, and a sequence of layers of which some take it."""

from __future__ import annotations

from torch import Tensor, nn


class LabelConditioned(nn.Module):
    """A layer with `forward(x, labels)`: labels is (N,) int64, or None if the network is unconditional."""


def apply_layers(layers: nn.Sequential, x: Tensor, labels: Tensor | None) -> Tensor:
    """Return the output of `layers` for `x`. The layers that are `LabelConditioned` get the labels, too."""
    for layer in layers:
        x = layer(x, labels) if isinstance(layer, LabelConditioned) else layer(x)
    return x
