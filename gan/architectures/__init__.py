"""The families of networks. Image size, channels, width, z_dim and conditioning are parameters of each.

G(z, labels) -> (N, C, S, S) in [-1, 1]; D(images, labels) -> logits (N,), and D.judge(images, labels) -> `DiscriminatorOutput`.
labels is (N,) int64, or None. G and D may be of two families that work at one image size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from gan.architectures import dcgan, mlp, r3gan, resnet
from gan.architectures.discriminator import Discriminator, DiscriminatorOutput
from gan.layers.spectral_norm import learnt
from gan.randomness import generator
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetInfo
from gan.spec.families import Architecture

__all__ = [
    "NETWORKS",
    "Discriminator",
    "DiscriminatorOutput",
    "FamilyNetworks",
    "build_networks",
    "networks_without_weights",
    "place",
]


@dataclass(frozen=True)
class FamilyNetworks:
    """How one family builds its networks, and how it draws their first weights."""

    generator: Callable[[TrainSpec, DatasetInfo], nn.Module]
    discriminator: Callable[[TrainSpec, DatasetInfo], Discriminator]
    initialise: Callable[[nn.Module, torch.Generator], None]
    """Fills every parameter and buffer of a network from the generator."""


NETWORKS: Final[dict[Architecture, FamilyNetworks]] = {
    "dcgan": FamilyNetworks(dcgan.DcganGenerator, dcgan.DcganDiscriminator, dcgan.initialise),
    "mlp": FamilyNetworks(mlp.MlpGenerator, mlp.MlpDiscriminator, mlp.initialise),
    "resnet": FamilyNetworks(resnet.ResnetGenerator, resnet.ResnetDiscriminator, resnet.initialise),
    "r3gan": FamilyNetworks(r3gan.R3ganGenerator, r3gan.R3ganDiscriminator, r3gan.initialise),
}


def build_networks(spec: TrainSpec, info: DatasetInfo) -> tuple[nn.Module, Discriminator]:
    """(G, D) for `spec` on images of `info`, in train mode on the CPU; their weights are a function of spec.seed."""
    G, D = networks_without_weights(spec, info)
    parts = (("g", G, spec.generator.architecture), ("d", D, spec.discriminator.architecture))
    for name, network, architecture in parts:
        network.to_empty(device="cpu")
        NETWORKS[architecture].initialise(network, generator(spec.seed, f"weights of {name}"))
    return G, D


def place(network: nn.Module, device: torch.device | str) -> None:
    """Move `network` to `device`, its convolutions' weights laid out channels last: quicker on CPUs and GPUs."""
    for module in network.to(device).modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = learnt(module)
            weight.data = torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight)


def networks_without_weights(spec: TrainSpec, info: DatasetInfo) -> tuple[nn.Module, Discriminator]:
    """(G, D) on torch's meta device: shapes alone, nothing allocated and no random number drawn."""
    with torch.device("meta"):
        G = NETWORKS[spec.generator.architecture].generator(spec, info)
        D = NETWORKS[spec.discriminator.architecture].discriminator(spec, info)
    return G, D
