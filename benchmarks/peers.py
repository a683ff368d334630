"""The training loops of other projects.

Those of pytorch/examples and PyTorch-GAN are rewritten here after their structure; the steps of torchgan and
torch-mimicry are called in their own packages.

Each loop is a generator: one step at every `next`. They share what the originals share: a `DataLoader` without
workers over images that are normalised one by one, torch's default Adam, `.item()` for every figure in every step,
and a D that keeps its weight gradients while G moves.

The two packages (`pip install --no-deps torchgan torch-mimicry`) want torchvision and tensorflow when they are
imported whole. Their training steps want neither: the modules that hold them are imported alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.workloads import WORKLOADS, Workload
from gan.data import ImageDataset, margins

LAMBDA: Final = 10.0


class Normalised(Dataset[tuple[Tensor, int]]):
    """As torchvision's transforms leave an image: float32 in [-1, 1], padded to `side`, one at a time."""

    def __init__(self, data: ImageDataset, side: int) -> None:
        assert data.labels is not None
        self._images, self._labels = data.images, data.labels.tolist()
        self._margins = margins(data.info.height, data.info.width, side)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self._images[index].float().div(255.0)
        return F.pad(image, self._margins).sub(0.5).div(0.5), self._labels[index]


class Peer:
    """What a loop needs: networks, their optimizers, and batches without end."""

    def __init__(self, workload: Workload, data: ImageDataset, device: torch.device) -> None:
        torch.manual_seed(0)
        self.workload, self.device = workload, device
        G, D = workload.networks()
        self.G, self.D = G.to(device), D.to(device)
        if workload.side == 32:
            self.G.apply(_as_dcgan)
            self.D.apply(_as_dcgan)
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(network.parameters(), lr=workload.rate, betas=workload.betas)
            for network in (self.G, self.D)
        )
        images = Normalised(data, workload.side)
        self._loader = DataLoader(images, workload.batch_size, shuffle=True, drop_last=True)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Epoch after epoch: images and labels on the device."""
        while True:
            for images, labels in self._loader:
                yield images.to(self.device), labels.to(self.device)

    def z(self, count: int) -> Tensor:
        """Latents (count, z_dim)."""
        return torch.randn(count, self.G.z_dim, device=self.device)


def examples(peer: Peer) -> Iterator[None]:
    """pytorch/examples, dcgan/main.py: real and fake backward one by one, one batch of fakes for both players."""
    G, D, criterion = peer.G, peer.D, nn.BCEWithLogitsLoss()
    for real, labels in peer.batches():
        D.zero_grad()
        target = torch.full((len(real),), 1.0, device=peer.device)
        output = D(real, labels)
        error_of_real = criterion(output, target)
        error_of_real.backward()
        output.sigmoid().mean().item()
        fake = G(peer.z(len(real)), labels)
        target.fill_(0.0)
        output = D(fake.detach(), labels)
        error_of_fake = criterion(output, target)
        error_of_fake.backward()
        output.sigmoid().mean().item()
        peer.optimizer_d.step()
        G.zero_grad()
        target.fill_(1.0)
        output = D(fake, labels)
        error_of_g = criterion(output, target)
        error_of_g.backward()
        output.sigmoid().mean().item()
        peer.optimizer_g.step()
        (error_of_real + error_of_fake).item(), error_of_g.item()
        yield


def pytorch_gan(peer: Peer) -> Iterator[None]:
    """eriklindernoren/PyTorch-GAN, dcgan.py and wgan_gp.py."""
    return _wgan_gp(peer) if peer.workload.critic_updates else _gan(peer)


def _gan(peer: Peer) -> Iterator[None]:
    """G moves first, and the same fakes serve D, whose two losses are averaged."""
    G, D, criterion = peer.G, peer.D, nn.BCEWithLogitsLoss()
    for real, labels in peer.batches():
        valid, fake = torch.ones(len(real), device=peer.device), torch.zeros(len(real), device=peer.device)
        peer.optimizer_g.zero_grad()
        images = G(peer.z(len(real)), labels)
        loss_of_g = criterion(D(images, labels), valid)
        loss_of_g.backward()
        peer.optimizer_g.step()
        peer.optimizer_d.zero_grad()
        loss = (criterion(D(real, labels), valid) + criterion(D(images.detach(), labels), fake)) / 2
        loss.backward()
        peer.optimizer_d.step()
        loss.item(), loss_of_g.item()
        yield


def _wgan_gp(peer: Peer) -> Iterator[None]:
    """Train the critic with its penalty, and G at every fifth batch."""
    G, D = peer.G, peer.D
    for number, (real, _) in enumerate(peer.batches(), 1):
        peer.optimizer_d.zero_grad()
        z = peer.z(len(real))
        fake = G(z)
        loss = -D(real).mean() + D(fake).mean() + LAMBDA * _penalty(D, real.data, fake.data)
        loss.backward()
        peer.optimizer_d.step()
        peer.optimizer_g.zero_grad()
        if number % peer.workload.critic_updates == 0:
            loss_of_g = -D(G(z)).mean()
            loss_of_g.backward()
            peer.optimizer_g.step()
            loss.item(), loss_of_g.item()
            yield


def _penalty(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    judged = D(between)
    (slope,) = torch.autograd.grad(judged, between, torch.ones_like(judged), create_graph=True, retain_graph=True)
    penalty: Tensor = ((slope.view(len(slope), -1).norm(2, dim=1) - 1) ** 2).mean()
    return penalty


def torchgan(peer: Peer) -> Iterator[None]:
    """Train with torchgan 0.1: the `train_ops` of its losses, in the order of its Trainer."""
    losses = _alone("torchgan", "losses.minimax", "losses.wasserstein")
    size, device, G, D = peer.workload.batch_size, peer.device, peer.G, peer.D
    if peer.workload.critic_updates:
        d_loss, penalty = losses[1].WassersteinDiscriminatorLoss(), losses[1].WassersteinGradientPenalty(lambd=LAMBDA)
        g_loss = losses[1].WassersteinGeneratorLoss()
    else:
        d_loss, penalty, g_loss = losses[0].MinimaxDiscriminatorLoss(), None, losses[0].MinimaxGeneratorLoss()
    for number, (real, _) in enumerate(peer.batches(), 1):
        of_d = (G, D, peer.optimizer_d, real, device, size)
        d_loss.train_ops(*of_d)
        if penalty is not None:
            penalty.train_ops(*of_d)
        if number % max(1, peer.workload.critic_updates) == 0:
            g_loss.train_ops(G, D, peer.optimizer_g, device, size)
            yield


def mimicry(peer: Peer) -> Iterator[None]:
    """torch-mimicry 0.1.16: `train_step` of its base GAN, or of its WGAN-GP, in the order of its Trainer."""
    base, wgan, log = _alone("torch_mimicry", "nets.gan.gan", "nets.wgan_gp.wgan_gp_base", "training.metric_log")
    critic = peer.workload.critic_updates
    of_g: type[Any] = wgan.WGANGPBaseGenerator if critic else base.BaseGenerator
    of_d: type[Any] = wgan.WGANGPBaseDiscriminator if critic else base.BaseDiscriminator
    G, D = _as_mimicry(of_g, of_d, peer)
    for number, (real, labels) in enumerate(peer.batches(), 1):
        told = log.MetricLog()
        batch = (real, labels)
        D.train_step(real_batch=batch, netG=G, optD=peer.optimizer_d, log_data=told, device=peer.device)
        if number % max(1, critic) == 0:
            G.train_step(real_batch=batch, netD=D, optG=peer.optimizer_g, log_data=told, device=peer.device)
            yield


LOOPS: Final[dict[str, Callable[[Peer], Iterator[None]]]] = {
    "examples": examples,
    "PyTorch-GAN": pytorch_gan,
    "torchgan": torchgan,
    "torch-mimicry": mimicry,
}
_PACKAGES: Final = {"torchgan": "torchgan", "torch-mimicry": "torch_mimicry"}


def able(loop: str, workload: str) -> str | None:
    """Why `loop` cannot train `workload` here; None when it can."""
    package = _PACKAGES.get(loop)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"pip install --no-deps {loop}"
    if WORKLOADS[workload].critic_updates and loop == "examples":
        return "has no WGAN-GP"
    if loop == "torch-mimicry" and WORKLOADS[workload].critic_updates:
        return "its penalty is written for three channels"
    if package is not None and workload == "W2":
        return "its steps pass no labels"
    return None


def _alone(package: str, *names: str) -> list[Any]:
    """Modules of `package`, imported without the `__init__` of any package above them."""
    found = importlib.util.find_spec(package)
    assert found is not None and found.submodule_search_locations is not None
    root = found.submodule_search_locations[0]
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            path = ".".join([package, *parts[:depth]])
            if path not in sys.modules:
                hollow = types.ModuleType(path)
                hollow.__path__ = ["/".join([root, *parts[:depth]])]
                sys.modules[path] = hollow
    return [importlib.import_module(f"{package}.{name}") for name in names]


def _as_mimicry(of_g: type[Any], of_d: type[Any], peer: Peer) -> tuple[Any, Any]:
    """Return the plain networks behind mimicry's base classes, which need logits (N, 1)."""

    class G(of_g):  # type: ignore[misc]
        def __init__(self) -> None:
            loss = "wasserstein" if peer.workload.critic_updates else "ns"
            super().__init__(nz=peer.G.z_dim, ngf=64, bottom_width=4, loss_type=loss)
            self.network = peer.G

        def forward(self, z: Tensor) -> Tensor:
            images: Tensor = self.network(z)
            return images

    class D(of_d):  # type: ignore[misc]
        def __init__(self) -> None:
            more = {"gp_scale": LAMBDA} if peer.workload.critic_updates else {}
            loss = "wasserstein" if peer.workload.critic_updates else "ns"
            super().__init__(ndf=64, loss_type=loss, **more)
            self.network = peer.D

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images)[:, None]
            return logits

    return G(), D()


def _as_dcgan(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)
