"""Exact resume: 2N steps equal N steps, a checkpoint, and N steps in a new process, bit for bit on the CPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan import checkpoint
from gan.events import CheckpointDue, Event, Tick
from gan.spec.presets import PRESETS
from gan.train import METRICS, Trainer
from tests.gan.quick import quick_spec, three_shapes
from tests.gan.test_train import curve

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
    """Return the paths at which two states differ in a value or a type."""
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
        # 7 batches of 10 images are more than the 60 of the data set: both halves cross the end of an epoch.
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


def at_checkpoint(trainer: Trainer) -> tuple[list[Event], dict[str, Any]]:
    """Run `trainer` to its first checkpoint. Return its events so far and its state."""
    events: list[Event] = []
    for event in trainer.run():
        events.append(event)
        if isinstance(event, CheckpointDue):
            break
    return events, trainer.state()


def without(state: dict[str, Any], name: str) -> None:
    """Change `state` to that of a version without the metric `name`."""
    place = state["unseen_metrics"].index(name)
    state["unseen_metrics"].remove(name)
    state["unseen"] = torch.cat([state["unseen"][:, :place], state["unseen"][:, place + 1 :]], dim=1)


def with_another(state: dict[str, Any], value: float) -> None:
    """Change `state` to that of a version with one more metric, between those of this version."""
    state["unseen_metrics"].insert(1, "of_another_version")
    column = torch.full((len(state["unseen"]), 1), value)
    state["unseen"] = torch.cat([state["unseen"][:, :1], column, state["unseen"][:, 1:]], dim=1)


def without_names(state: dict[str, Any]) -> None:
    """Change `state` to that of a version without names of metrics."""
    del state["unseen_metrics"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda state: without(state, "penalty_d"), id="one metric less"),
        pytest.param(lambda state: without(state, "real_logit"), id="one metric of health less"),
        pytest.param(lambda state: without(state, "grad_norm_d"), id="no gradient norm"),
        pytest.param(lambda state: with_another(state, 1.0), id="one metric more"),
        pytest.param(lambda state: with_another(state, float("nan")), id="one metric more, not finite"),
        pytest.param(without_names, id="no names"),
    ],
)
def test_a_checkpoint_of_other_metrics_resumes_with_the_right_curve(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    # Health checks the losses at steps 8 and 14, so the checkpoint of step 7 has rows that are not checked yet.
    spec, data = quick_spec(**CHANGES, safeguards={"every_steps": 8}), three_shapes()
    undisturbed = list(Trainer(spec, data).run())
    before, state = at_checkpoint(Trainer(spec, data))
    assert len(state["unseen"]) == HALF
    change(state)
    with (tmp_path / "changed").open("wb") as file:
        checkpoint.save(file, state)
    resumed = Trainer(spec, data, state=checkpoint.load(tmp_path / "changed"))
    # A second checkpoint before the next check resumes as well.
    resumed = Trainer(spec, data, state=resumed.state())
    after = list(resumed.run())
    assert np.array_equal(curve(before + after), curve(undisturbed))
    assert {event.names for event in after if isinstance(event, Tick)} == {METRICS}
    assert resumed.health.findings == ()


def test_rows_of_other_metrics_do_not_change_the_state_of_health() -> None:
    spec, data = quick_spec(**CHANGES, safeguards={"every_steps": 8}), three_shapes()
    states = []
    for change in (None, lambda state: without(state, "penalty_d"), lambda state: with_another(state, float("nan"))):
        _, state = at_checkpoint(Trainer(spec, data))
        if change is not None:
            change(state)
        resumed = Trainer(spec, data, state=state)
        list(resumed.run())
        states.append(resumed.health.state())
    assert states[0] == states[1] == states[2]
