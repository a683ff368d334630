"""The families of networks. Image size, channels, width, z_dim and conditioning are parameters of every family.

G(z, labels) -> (N, C, S, S) in [-1, 1]. D(images, labels) -> logits (N,); D.outputs(images, labels) ->
`DiscriminatorOutput`. labels is (N,) int64, or None. G and D may be of two families that work at the same image size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from gan.architectures import dcgan, mlp, r3gan, resnet
from gan.architectures.discriminator import Discriminator, DiscriminatorOutput
from gan.layers.spectral_norm import trained_weight
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
    "place_network",
]


@dataclass(frozen=True)
class FamilyNetworks:
    """The constructors of one family's networks, and the function that draws their first weights."""

    generator: Callable[[TrainSpec, DatasetInfo], nn.Module]
    discriminator: Callable[[TrainSpec, DatasetInfo], Discriminator]
    initialise: Callable[[nn.Module, torch.Generator], None]
    """(network, source) -> None: writes every parameter and buffer."""


NETWORKS: Final[dict[Architecture, FamilyNetworks]] = {
    "dcgan": FamilyNetworks(dcgan.DcganGenerator, dcgan.DcganDiscriminator, dcgan.initialise),
    "mlp": FamilyNetworks(mlp.MlpGenerator, mlp.MlpDiscriminator, mlp.initialise),
    "resnet": FamilyNetworks(resnet.ResnetGenerator, resnet.ResnetDiscriminator, resnet.initialise),
    "r3gan": FamilyNetworks(r3gan.R3ganGenerator, r3gan.R3ganDiscriminator, r3gan.initialise),
}


def build_networks(spec: TrainSpec, info: DatasetInfo) -> tuple[nn.Module, Discriminator]:
    """Return (G, D) for `spec` on images of `info`, in train mode on the CPU.

    Their first weights depend on the spec, with its seed, and on `info` alone.
    """
    G, D = networks_without_weights(spec, info)
    parts = (("g", G, spec.generator.architecture), ("d", D, spec.discriminator.architecture))
    for name, network, architecture in parts:
        network.to_empty(device="cpu")
        NETWORKS[architecture].initialise(network, generator(spec.seed, f"weights of {name}"))
    return G, D


def place_network(network: nn.Module, device: torch.device | str) -> None:
    """Move `network` to `device`, and lay out the weights of its convolutions channels last.

    That layout is faster on CPUs and GPUs.
    """
    for module in network.to(device).modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = trained_weight(module)
            weight.data = torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight)


def networks_without_weights(spec: TrainSpec, info: DatasetInfo) -> tuple[nn.Module, Discriminator]:
    """Return (G, D) on torch's meta device: they have shapes, but no memory. No random number is drawn."""
    with torch.device("meta"):
        G = NETWORKS[spec.generator.architecture].generator(spec, info)
        D = NETWORKS[spec.discriminator.architecture].discriminator(spec, info)
    return G, D
