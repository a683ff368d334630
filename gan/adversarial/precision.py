"""The arithmetic of the networks: bfloat16 where the device supports it in hardware, else float32.

Losses, penalties, optimizers and averages always use float32. float16 is not offered: its narrow range needs a loss
scale, and adversarial training has two losses with scales of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import torch

# Private functions of torch, so they are looked up by name. Without them the result is float32, which always works.
_CPU_SUPPORT: Final = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def precision_on(asked: Literal["auto", "fp32", "bf16"], device: torch.device) -> Literal["fp32", "bf16"]:
    """Return the precision on `device` for `asked`, the `resources.precision` of a spec."""
    if asked != "auto":
        return asked
    return "bf16" if _has_bf16(device) else "fp32"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks: list[Callable[[], bool]] = [getattr(torch.cpu, name, lambda: False) for name in _CPU_SUPPORT]
    return device.type == "cpu" and any(check() for check in checks)
