"""Resume is exact: 2N steps equal N steps, a checkpoint, a fresh process, N steps; bit for bit on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from gan import checkpoint
from gan.events import CheckpointDue
from gan.spec.presets import PRESETS
from gan.train import Trainer
from tests.gan.quick import quick_spec, three_shapes

HALF = 7
CHANGES: dict[str, Any] = {"total_steps": 2 * HALF, "checkpoints": {"every_steps": HALF}, "batch_size": 10}
GO_ON = """
import sys, torch
from gan import checkpoint
from gan.train import Trainer
from tests.gan.quick import quick_spec, three_shapes
from tests.gan.test_resume import CHANGES
torch.set_num_threads(1)
for name in sys.argv[2:]:
    trainer = Trainer(quick_spec(preset=name, **CHANGES), three_shapes(),
                      state=checkpoint.load(f"{sys.argv[1]}/{name}.half"))
    for event in trainer.run():
        pass
    with open(f"{sys.argv[1]}/{name}.resumed", "wb") as file:
        checkpoint.save(file, trainer.state())
"""


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """The places where two states differ by a bit, a type or a memory layout's values."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) and one.dtype == other.dtype else [where]
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        return [d for key in one for d in differences(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list):
        assert len(one) == len(other), where
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{where}/{i}")]
    return [] if one == other else [where]


def test_every_preset_resumes_bit_for_bit_in_a_fresh_process(tmp_path: Path) -> None:
    data, whole = three_shapes(), {}
    for name in PRESETS:
        # 7 batches of 10 are 70 images of 60: both halves cross the end of an epoch.
        trainer = Trainer(quick_spec(preset=name, **CHANGES), data)
        for event in trainer.run():
            if isinstance(event, CheckpointDue) and not event.final:
                with (tmp_path / f"{name}.half").open("wb") as file:
                    checkpoint.save(file, trainer.state())
        whole[name] = trainer.state()
    subprocess.run([sys.executable, "-c", GO_ON, str(tmp_path), *PRESETS], check=True)
    for name, expected in whole.items():
        resumed = checkpoint.load(tmp_path / f"{name}.resumed")
        assert differences(expected, resumed) == []
        assert resumed["play"]["step"] == 2 * HALF
        assert differences(expected["play"]["G"], checkpoint.load(tmp_path / f"{name}.half")["play"]["G"]) != []
