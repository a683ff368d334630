"""A sequence of layers of which some take the labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan.layers.label_conditioned import LabelConditioned, apply_layers


class Shift(LabelConditioned):
    """A layer that adds the label."""

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return x if labels is None else x + labels[:, None]


def test_label_conditioned_layers_get_the_labels() -> None:
    layers, x = nn.Sequential(Shift(), nn.ReLU(), Shift()), torch.tensor([[-3.0], [1.0]])
    assert apply_layers(layers, x, torch.tensor([1, 2])).tolist() == [[1.0], [5.0]]
    assert apply_layers(layers, x, None).tolist() == [[0.0], [1.0]]
