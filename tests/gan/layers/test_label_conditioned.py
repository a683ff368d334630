"""Layers in a row, of which some are told the labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan.layers.label_conditioned import LabelConditioned, apply_layers


class Shift(LabelConditioned):
    """x + label."""

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return x if labels is None else x + labels[:, None]


def test_labels_reach_those_that_take_them_in_order() -> None:
    layers, x = nn.Sequential(Shift(), nn.ReLU(), Shift()), torch.tensor([[-3.0], [1.0]])
    assert apply_layers(layers, x, torch.tensor([1, 2])).tolist() == [[1.0], [5.0]]
    assert apply_layers(layers, x, None).tolist() == [[0.0], [1.0]]
