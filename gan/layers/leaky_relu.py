"""LeakyReLU whose second derivative is known to be zero: its slope is constant except at 0.

torch's LeakyReLU multiplies by that zero. Then a penalty on D's gradient is backpropagated through the whole forward
pass of D for a sum of zeros. The functions here have no such path in the graph. All results are torch's, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_backward = torch.ops.aten.leaky_relu_backward


class LeakyReLU(nn.Module):
    """LeakyReLU in place, x where x > 0, else slope * x: (N, ...) -> the same shape."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Change x in place and return it."""
        return leaky_relu_(x, self.slope)

    def extra_repr(self) -> str:
        """Return the slope as torch prints it in the layer's `repr`."""
        return f"slope={self.slope}"


def leaky_relu_(x: Tensor, slope: float) -> Tensor:
    """Apply `LeakyReLU` to `x` in place, with a slope above 0. Return `x`."""
    activated: Tensor = _Forward.apply(x, slope)  # type: ignore[no-untyped-call]
    return activated


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        nn.functional.leaky_relu_(x, slope)
        ctx.mark_dirty(x)
        # The output has the sign of the input, because the slope is above 0.
        ctx.save_for_backward(x)
        ctx.slope = slope
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (activated,) = ctx.saved_tensors
        passed: Tensor = _Slope.apply(gradient, activated.detach(), ctx.slope)  # type: ignore[no-untyped-call]
        return passed, None


class _Slope(torch.autograd.Function):
    """The product of a gradient and the slope. It is linear in the gradient and has no gradient in `activated`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, activated: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(activated)
        ctx.slope = slope
        passed: Tensor = _backward(gradient, activated, slope, True)
        return passed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (activated,) = ctx.saved_tensors
        passed: Tensor = _Slope.apply(gradient, activated, ctx.slope)  # type: ignore[no-untyped-call]
        return passed, None, None
