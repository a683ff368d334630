"""What a spec will cost, told before anything is allocated: the networks are built on torch's meta device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from gan.architectures import networks_without_weights
from gan.spec import TrainSpec, image_size
from gan.spec.catalog import DatasetInfo

_FP32: Final = 4
_MOMENTS: Final = {"adam": 2, "rmsprop": 1}
# What a checkpoint and a weights file hold beside tensors: names, the spec, the data set's classes.
_OVERHEAD: Final = 64 * 1024
# A step of the curves: seven numbers, their index and their share of the database's pages.
_METRICS_PER_STEP: Final = 256


@dataclass(frozen=True)
class ResourceEstimate:
    """Sizes in bytes. Memory is of the device that trains, without torch itself."""

    generator_parameters: int
    discriminator_parameters: int
    memory_bytes: int
    """Weights, gradients, the optimizers' moments, G_ema, activations of the larger phase, and the data set."""
    checkpoint_bytes: int
    """One checkpoint; the weights file beside it is not counted in."""
    disk_bytes: int
    """The whole job at its largest: checkpoints kept, their weights, previews, curves."""


def estimate(spec: TrainSpec, info: DatasetInfo) -> ResourceEstimate:
    """The cost of training `spec` on `info`."""
    G, D = networks_without_weights(spec, info)
    g, d = _tensor_bytes(G), _tensor_bytes(D)
    kept = _kept(spec, g, d)
    checkpoint = kept + _OVERHEAD
    dataset = info.num_images * (info.channels * info.height * info.width + 8)
    return ResourceEstimate(
        generator_parameters=_count(G),
        discriminator_parameters=_count(D),
        # A gradient lives for a phase.
        memory_bytes=kept + g + d + _activation_bytes(G, D, spec, info) + dataset,
        checkpoint_bytes=checkpoint,
        disk_bytes=_disk_bytes(spec, info, checkpoint, g + _OVERHEAD),
    )


def _kept(spec: TrainSpec, g: int, d: int) -> int:
    """Of networks of `g` and `d` bytes: weights, the optimizer's moments, the mean of the past, and G_ema."""
    past = 1 if spec.stabilizers.historical_averaging else 0
    of_g, of_d = (1 + _MOMENTS[optimizer.kind] + past for optimizer in (spec.optimizers.g, spec.optimizers.d))
    return of_g * g + of_d * d + (g if spec.ema.enabled else 0)


def _disk_bytes(spec: TrainSpec, info: DatasetInfo, checkpoint: int, weights: int) -> int:
    checkpoints = min(spec.checkpoints.keep_last, math.ceil(spec.total_steps / spec.checkpoints.every_steps))
    previews = 1 + math.ceil(spec.total_steps / spec.previews.every_steps)
    # Four pixels for one: a small image is enlarged. A PNG of such an image is no larger than its pixels were.
    preview = 4 * info.channels * info.height * info.width * spec.previews.per_class * (len(info.classes) or 8)
    return checkpoints * (checkpoint + weights) + previews * preview + spec.total_steps * _METRICS_PER_STEP


def _activation_bytes(G: nn.Module, D: nn.Module, spec: TrainSpec, info: DatasetInfo) -> int:
    """What autograd keeps between forward and backward: of D on reals and fakes, or of G and D; the larger. G's
    graph stands from the beginning where one batch of fakes serves both.
    """
    size, n = image_size(spec, info), spec.batch_size
    with torch.device("meta"):
        labels = torch.zeros(n, dtype=torch.int64) if spec.conditional else None
        z, images = torch.zeros(n, spec.generator.z_dim), torch.zeros(n, info.channels, size, size)
    of_g, of_d = _saved_bytes(G, z, labels), _saved_bytes(D, images, labels)
    phase_of_d = _phase_of_d(D, spec, images, labels, of_d)
    # A layer's output and its gradient pass through memory beside what is kept.
    both = max(phase_of_d + of_g if spec.shares_fakes else phase_of_d, of_g + of_d)
    return both + 2 * images.numel() * _FP32


def _phase_of_d(D: nn.Module, spec: TrainSpec, images: Tensor, labels: Tensor | None, of_d: int) -> int:
    """Of D on reals and on fakes, and what a penalty keeps so that D's gradient in them can be differentiated."""
    kinds = {penalty.kind for penalty in spec.penalties}
    if not kinds:
        return 2 * of_d
    images.requires_grad_()
    penalised = _saved_bytes(D, images, labels, differentiated=True)
    return len(kinds) * penalised + (2 - len(kinds & {"r1", "r2"})) * of_d


def _saved_bytes(network: nn.Module, *inputs: Tensor | None, differentiated: bool = False) -> int:
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # In-place activations save one memory twice, as their own output and as the next layer's input.
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(*inputs)
        if differentiated:
            torch.autograd.grad(output.sum(), [t for t in inputs[:1] if t is not None], create_graph=True)
    weights = {p.untyped_storage()._cdata for p in network.parameters()}
    total = sum(t.untyped_storage().nbytes() for key, t in saved.items() if key not in weights)
    return total + int(output.numel()) * _FP32


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _tensor_bytes(network: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())
