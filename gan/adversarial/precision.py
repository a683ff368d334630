"""In which arithmetic the networks compute: bfloat16 where the device has it in hardware, else float32.

Losses, penalties, optimizers and averages are in float32 whatever the answer; float16 is not offered, since its
narrow range needs a loss scale that a game of two losses does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import torch

# Private, and so asked for by name: without them the answer is float32, which is always right.
_CPU_HAS: Final = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def precision_on(asked: Literal["auto", "fp32", "bf16"], device: torch.device) -> Literal["fp32", "bf16"]:
    """What a spec's `resources.precision` comes to on `device`."""
    if asked != "auto":
        return asked
    return "bf16" if _has_bf16(device) else "fp32"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks: list[Callable[[], bool]] = [getattr(torch.cpu, name, lambda: False) for name in _CPU_HAS]
    return device.type == "cpu" and any(check() for check in checks)
