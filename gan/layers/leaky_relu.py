"""LeakyReLU that knows that it is straight: its slope is constant but in one point, its second derivative zero.

torch's own multiplies by that zero, and a penalty on D's gradient then goes back through the whole of D's forward
pass for a sum of zeros. Here that path does not exist; everything else is torch's, to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_backward = torch.ops.aten.leaky_relu_backward


class LeakyReLU(nn.Module):
    """x where x > 0, else slope x, in place: (N, ...) -> the same shape."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu_(x, self.slope)

    def extra_repr(self) -> str:
        return f"slope={self.slope}"


def leaky_relu_(x: Tensor, slope: float) -> Tensor:
    """The same as a function."""
    activated: Tensor = _Forward.apply(x, slope)  # type: ignore[no-untyped-call]
    return activated


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        nn.functional.leaky_relu_(x, slope)
        ctx.mark_dirty(x)
        # Which side of zero it was on is read from the result: slope is above 0.
        ctx.save_for_backward(x)
        ctx.slope = slope
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (activated,) = ctx.saved_tensors
        passed: Tensor = _Slope.apply(gradient, activated.detach(), ctx.slope)  # type: ignore[no-untyped-call]
        return passed, None


class _Slope(torch.autograd.Function):
    """gradient -> gradient times the slope; linear in the gradient, and flat in `activated`."""

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
