"""An estimate of the memory and disk space that a spec needs. Nothing is allocated: torch's meta device is used."""

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
# A checkpoint and a weights file hold more than tensors: names, the spec, the classes of the data set.
_OVERHEAD_BYTES: Final = 64 * 1024
# One step of the curves in the database: seven numbers, their index and their share of the pages.
_METRICS_BYTES_PER_STEP: Final = 256


@dataclass(frozen=True)
class ResourceEstimate:
    """The estimated size of a job in parameters and bytes."""

    generator_parameters: int
    discriminator_parameters: int
    memory_bytes: int
    """Memory on the training device, without PyTorch itself: weights, gradients, the optimizers' moments, G_ema, the
    activations of the larger phase, and the data set."""
    checkpoint_bytes: int
    """The size of one checkpoint, without the weights file beside it."""
    disk_bytes: int
    """The largest size of the whole job: the checkpoints that are kept, their weights, previews and curves."""


def estimate(spec: TrainSpec, info: DatasetInfo) -> ResourceEstimate:
    """Return the estimated cost of training `spec` on the data set `info`."""
    G, D = networks_without_weights(spec, info)
    g, d = _tensor_bytes(G), _tensor_bytes(D)
    state = _state_bytes(spec, g, d)
    checkpoint = state + _OVERHEAD_BYTES
    dataset = info.num_images * (info.channels * info.height * info.width + 8)
    return ResourceEstimate(
        generator_parameters=_count(G),
        discriminator_parameters=_count(D),
        # `g + d` are the gradients.
        memory_bytes=state + g + d + _activation_bytes(G, D, spec, info) + dataset,
        checkpoint_bytes=checkpoint,
        disk_bytes=_disk_bytes(spec, info, checkpoint, g + _OVERHEAD_BYTES),
    )


def _state_bytes(spec: TrainSpec, g: int, d: int) -> int:
    """Return the size of the state of training in bytes, for networks of `g` and `d` bytes.

    It consists of weights, the optimizers' moments, the means of historical averaging, and G_ema.
    """
    past = 1 if spec.stabilizers.historical_averaging else 0
    copies_g, copies_d = (1 + _MOMENTS[o.kind] + past for o in (spec.optimizers.g, spec.optimizers.d))
    return copies_g * g + copies_d * d + (g if spec.ema.enabled else 0)


def _disk_bytes(spec: TrainSpec, info: DatasetInfo, checkpoint: int, weights: int) -> int:
    checkpoints = min(spec.checkpoints.keep_last, math.ceil(spec.total_steps / spec.checkpoints.every_steps))
    previews = 1 + math.ceil(spec.total_steps / spec.previews.every_steps)
    # A small image is enlarged, here by 2 x 2. The PNG of an enlarged image is no larger than its pixels.
    preview = 4 * info.channels * info.height * info.width * spec.previews.per_class * (len(info.classes) or 8)
    return checkpoints * (checkpoint + weights) + previews * preview + spec.total_steps * _METRICS_BYTES_PER_STEP


def _activation_bytes(G: nn.Module, D: nn.Module, spec: TrainSpec, info: DatasetInfo) -> int:
    """Return the bytes that autograd saves between forward and backward, in the larger of the two phases.

    D's phase saves the activations of D on reals and on fakes, G's phase those of G and of D. If both phases share
    one batch of fakes, G's activations are saved during D's phase, too.
    """
    size, n = image_size(spec, info), spec.batch_size
    with torch.device("meta"):
        labels = torch.zeros(n, dtype=torch.int64) if spec.conditional else None
        z, images = torch.zeros(n, spec.generator.z_dim), torch.zeros(n, info.channels, size, size)
    saved_g, saved_d = _saved_bytes(G, z, labels), _saved_bytes(D, images, labels)
    d_phase = _d_phase_bytes(D, spec, images, labels, saved_d)
    largest = max(d_phase + saved_g if spec.shares_fakes else d_phase, saved_g + saved_d)
    # The output of a layer and its gradient need memory in addition to the saved tensors.
    return largest + 2 * images.numel() * _FP32


def _d_phase_bytes(D: nn.Module, spec: TrainSpec, images: Tensor, labels: Tensor | None, saved_d: int) -> int:
    """Return the bytes that autograd saves in D's phase; one pass of D saves `saved_d`.

    A penalty saves more, so that D's gradient with respect to its input can be differentiated.
    """
    kinds = {penalty.kind for penalty in spec.penalties}
    if not kinds:
        return 2 * saved_d
    images.requires_grad_()
    penalised = _saved_bytes(D, images, labels, differentiated=True)
    return len(kinds) * penalised + (2 - len(kinds & {"r1", "r2"})) * saved_d


def _saved_bytes(network: nn.Module, *inputs: Tensor | None, differentiated: bool = False) -> int:
    """Return the bytes that autograd saves in one forward pass, without the weights.

    With `differentiated`, the gradient with respect to the first input is computed, too, so that it can be
    differentiated.
    """
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # An in-place activation saves one storage twice: as its own output and as the input of the next layer.
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
