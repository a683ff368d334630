"""Penalties on the gradient of D in its images, which are added to D's loss: pure functions, without their weight.

They need second derivatives. D's output for an image must depend on that image alone, so that D must have neither
BatchNorm nor minibatch discrimination.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Return E (|grad D(x)| - 1)^2 at x = mix real + (1 - mix) fake.

    Gulrajani et al. 2017, arXiv:1704.00028, equation 3; the weight in the paper, lambda, is 10. `critic` maps images
    (N, C, S, S) to logits (N,); `mix` is (N, 1, 1, 1) from U(0, 1).
    """
    between = torch.lerp(fake.detach(), real.detach(), mix).requires_grad_()
    slopes: Tensor = torch.linalg.vector_norm(_gradient(critic(between), between), dim=1)
    penalty: Tensor = (slopes - 1.0).square().mean()
    return penalty


def zero_centered_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return 1/2 E |grad D(x)|^2: R1 on reals, R2 on fakes (Mescheder et al. 2018, arXiv:1801.04406, equation 9).

    The squares are summed over C, H and W. `logits` (N,) were computed from `images`, which require a gradient. If D
    sees augmented images, `images` are those before the augmentation, as in the authors' code of StyleGAN2-ADA
    (Karras et al. 2020, arXiv:2006.06676) and of R3GAN (Huang et al. 2024, arXiv:2501.05441): the gradient in pixels
    that an augmentation hides is then zero. The code of DiffAugment does so for its smallest data sets only.
    """
    return _gradient(logits, images).square().sum(1).mean() / 2


def _gradient(logits: Tensor, images: Tensor) -> Tensor:
    """Return dD(x)/dx of each image, (N, C S S), which is differentiable in D's weights."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.flatten(1)
