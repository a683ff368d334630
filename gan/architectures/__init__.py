"""The families of networks. Image size, channels, width, z_dim and conditioning are parameters of each.

G(z, labels) -> (N, C, S, S) in [-1, 1]; D(images, labels) -> logits (N,). labels is (N,) int64, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from gan.architectures import dcgan, mlp
from gan.catalog import DatasetInfo
from gan.randomness import generator
from gan.spec import TrainSpec

Build = Callable[[TrainSpec, DatasetInfo], nn.Module]


@dataclass(frozen=True)
class Family:
    """How one family builds its networks, and how it draws their first weights."""

    generator: Build
    discriminator: Build
    initialise: Callable[[nn.Module, torch.Generator], None]
    """Fills every parameter and buffer of a network from the generator."""


FAMILIES: Final[dict[Literal["dcgan", "mlp"], Family]] = {
    "dcgan": Family(dcgan.Generator, dcgan.Discriminator, dcgan.initialise),
    "mlp": Family(mlp.Generator, mlp.Discriminator, mlp.initialise),
}


def build_networks(spec: TrainSpec, info: DatasetInfo) -> tuple[nn.Module, nn.Module]:
    """(G, D) for `spec` on images of `info`, in train mode on the CPU; their weights are a function of spec.seed."""
    G, D = networks_without_weights(spec, info)
    for name, network in (("g", G), ("d", D)):
        network.to_empty(device="cpu")
        FAMILIES[spec.generator.architecture].initialise(network, generator(spec.seed, f"weights of {name}"))
    return G, D


def place(network: nn.Module, device: torch.device | str) -> None:
    """Move `network` to `device`, its convolutions' weights laid out channels last: quicker on CPUs and GPUs."""
    convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)


def networks_without_weights(spec: TrainSpec, info: DatasetInfo) -> tuple[nn.Module, nn.Module]:
    """(G, D) on torch's meta device: shapes alone, nothing allocated and no random number drawn."""
    with torch.device("meta"):
        G = FAMILIES[spec.generator.architecture].generator(spec, info)
        D = FAMILIES[spec.discriminator.architecture].discriminator(spec, info)
    return G, D
