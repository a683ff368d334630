"""The training loop on the ring, whose points are their own features, so that evaluations are fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gan.data import ImageDataset
from gan.events import CheckpointDue, Evaluated, Event, HealthChanged
from gan.quality import features
from gan.quality.features import FeatureNet
from gan.spec import TrainSpec, resolve
from gan.train import Trainer
from tests.gan.ring import ring
from tests.gan.test_train import NEVER, curve


def on_the_ring(**changes: Any) -> TrainSpec:
    """Return a quick spec for the ring, with whole fields replaced."""
    body: dict[str, Any] = {
        "dataset": "ring",
        "preset": "cgan-concat",
        "conditioning": {"kind": "none"},
        "generator": {"architecture": "mlp", "hidden_units": 16, "z_dim": 4},
        "discriminator": {"architecture": "mlp", "hidden_units": 16},
        "batch_size": 32,
        "total_steps": 12,
        "evaluation": {"every_steps": 4, "images": 200},
        "previews": {"every_steps": 1000, "per_class": 1},
        "checkpoints": {"every_steps": 6},
        "resources": {"precision": "fp32"},
    }
    return resolve({**body, **changes})


@pytest.fixture(scope="module")
def points() -> ImageDataset:
    """Return the ring."""
    return ring()


@pytest.fixture(scope="module")
def net(points: ImageDataset) -> FeatureNet:
    """Return the feature network of the ring."""
    return features.for_dataset(points, None)


def test_evaluations_come_at_the_start_on_schedule_and_at_the_end(points: ImageDataset, net: FeatureNet) -> None:
    trainer = Trainer(on_the_ring(total_steps=10), points, features=net, tick_seconds=NEVER)
    events = list(trainer.run())
    evaluated = [e for e in events if isinstance(e, Evaluated)]
    assert [e.step for e in evaluated] == [0, 4, 8, 10]
    assert not evaluated[0].best
    assert evaluated[1].best
    for event in evaluated:
        assert {"fcd", "coverage", "precision", "recall"} <= event.evaluation.metrics.keys()
        assert event.evaluation.provenance["weights"] == "ema"
    # There is a checkpoint for each best evaluation, besides those of the schedule.
    due = {e.step: e for e in events if isinstance(e, CheckpointDue)}
    assert {e.step for e in evaluated if e.best} <= {step for step, e in due.items() if e.best}
    assert set(due) == {6, 10} | {e.step for e in evaluated if e.best}
    assert trainer.best_step == max(e.step for e in evaluated if e.best)
    kinds = [type(e).__name__ for e in events if e.step == 4 and not isinstance(e, HealthChanged)]
    assert kinds == ["Tick", "Evaluated", "CheckpointDue"]


def test_evaluations_do_not_change_training(points: ImageDataset, net: FeatureNet) -> None:
    many, none = on_the_ring(), on_the_ring(evaluation={"enabled": False})
    assert np.array_equal(
        curve(list(Trainer(many, points, features=net).run())), curve(list(Trainer(none, points).run()))
    )


def test_a_spec_that_evaluates_needs_a_feature_network(points: ImageDataset) -> None:
    with pytest.raises(ValueError, match="feature network"):
        Trainer(on_the_ring(), points)


def without_ticks(events: list[Event]) -> list[tuple[object, ...]]:
    """Return the events of a run as tuples, without ticks, whose steps depend on the clock."""
    tuples: list[tuple[object, ...]] = []
    for event in events:
        match event:
            case Evaluated():
                tuples.append(("evaluated", event.step, event.evaluation.metrics, event.best))
            case HealthChanged():
                tuples.append(("health", event.step, event.verdict, event.findings))
            case CheckpointDue():
                tuples.append(("checkpoint", event.step, event.final, event.best))
    return tuples


def test_a_resumed_run_gives_the_same_events(points: ImageDataset, net: FeatureNet) -> None:
    # D learns much faster than G, so that there are findings; health checks are not at the steps of checkpoints.
    spec = on_the_ring(
        total_steps=120,
        optimizers={"d": {"learning_rate": 0.05}, "g": {"learning_rate": 1e-5}},
        checkpoints={"every_steps": 25},
        evaluation={"every_steps": 20, "images": 200},
        safeguards={"every_steps": 10, "probe_every_steps": 30, "thresholds": {"warm_up_images": 300}},
    )
    whole = Trainer(spec, points, features=net)
    expected = without_ticks(list(whole.run()))
    assert {f.code for f in whole.health.findings} != set()
    for cut in (25, 50, 75):
        first, events = Trainer(spec, points, features=net, tick_seconds=0.0), []
        for event in first.run():
            events.append(event)
            if isinstance(event, CheckpointDue) and event.step == cut:
                break
        second = Trainer(spec, points, features=net, state=first.state(), tick_seconds=NEVER)
        assert without_ticks([*events, *second.run()]) == expected
        assert second.health.state() == whole.health.state()
        assert second.best_step == whole.best_step


def test_stop_and_keep_best_ends_the_run_early(points: ImageDataset, net: FeatureNet) -> None:
    spec = on_the_ring(
        total_steps=400,
        optimizers={"d": {"learning_rate": 0.05}, "g": {"learning_rate": 0.05}},
        evaluation={"every_steps": 10, "images": 200},
        safeguards={
            "policy": "stop_and_keep_best",
            "every_steps": 10,
            "thresholds": {"warm_up_images": 0, "warm_up_share": 0.0, "past_best_critical": 1.01, "evaluations": 2},
        },
    )
    trainer = Trainer(spec, points, features=net)
    events = list(trainer.run())
    assert trainer.finished
    assert trainer.step < 400
    assert trainer.ended_early
    last = events[-1]
    assert isinstance(last, CheckpointDue) and last.final and last.step == trainer.step
    assert trainer.best_step is not None and trainer.best_step < trainer.step
    # A resumed run is finished as well.
    again = Trainer(spec, points, features=net, state=trainer.state())
    assert again.finished and list(again.run()) == []


def test_the_last_evaluation_can_train_a_classifier_on_fakes(points: ImageDataset, net: FeatureNet) -> None:
    spec = on_the_ring(
        conditioning={"kind": "concat"}, total_steps=4, evaluation={"images": 200, "train_on_fakes": True}
    )
    events = [e for e in Trainer(spec, points, features=net).run() if isinstance(e, Evaluated)]
    assert "accuracy_trained_on_fakes" not in events[0].evaluation.metrics
    assert 0.0 <= events[-1].evaluation.metrics["accuracy_trained_on_fakes"] <= 1.0
