"""The training loop: its events and their order, and what it does when training diverges."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gan.data import ImageDataset
from gan.events import CheckpointDue, Event, HealthChanged, PreviewReady, Tick
from gan.spec import TrainSpec, from_record
from gan.spec.networks import GeneratorSpec
from gan.spec.presets import PRESETS
from gan.train import (
    METRICS,
    TICK_STEPS,
    DivergedError,
    StateMismatchError,
    Trainer,
    fingerprint,
)

Quick = Callable[..., TrainSpec]
NEVER = 1e9


def summary(events: list[Event]) -> list[tuple[str, int]]:
    """Return the type and step of each event, without verdicts, which have tests of their own."""
    return [(type(event).__name__, event.step) for event in events if not isinstance(event, HealthChanged)]


def curve(events: list[Event]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the metrics of all ticks, (steps, metrics)."""
    return np.concatenate([event.values for event in events if isinstance(event, Tick)])


def test_the_events_and_their_order(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(total_steps=7, previews={"every_steps": 2}, checkpoints={"every_steps": 3})
    events = list(Trainer(spec, shapes, tick_seconds=NEVER).run())
    assert summary(events) == [
        ("PreviewReady", 0),
        ("Tick", 2), ("PreviewReady", 2),
        ("Tick", 3), ("CheckpointDue", 3),
        ("Tick", 4), ("PreviewReady", 4),
        ("Tick", 6), ("PreviewReady", 6), ("CheckpointDue", 6),
        ("Tick", 7), ("PreviewReady", 7), ("CheckpointDue", 7),
    ]  # fmt: skip
    assert [e.final for e in events if isinstance(e, CheckpointDue)] == [False, False, True]


def test_each_event_of_the_last_step_comes_once(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(total_steps=4, previews={"every_steps": 2}, checkpoints={"every_steps": 4})
    assert summary(list(Trainer(spec, shapes, tick_seconds=NEVER).run()))[-3:] == [
        ("Tick", 4), ("PreviewReady", 4), ("CheckpointDue", 4),
    ]  # fmt: skip


def test_ticks_cover_every_step_once_with_finite_metrics(quick: Quick, shapes: ImageDataset) -> None:
    events = list(Trainer(quick(total_steps=9), shapes, tick_seconds=0.0).run())
    ticks = [e for e in events if isinstance(e, Tick)]
    covered = [step for t in ticks for step in range(t.first_step, t.step + 1)]
    assert covered == list(range(1, 10))
    for tick in ticks:
        assert tick.names == METRICS
        assert tick.values.shape == (tick.step - tick.first_step + 1, len(METRICS))
        assert tick.values.dtype == np.float32
        assert np.isfinite(tick.values).all()
        assert tick.images_seen == tick.step * 6
        assert tick.images_per_second > 0
    accuracy = curve(events)[:, METRICS.index("d_accuracy")]
    assert ((accuracy >= 0) & (accuracy <= 1)).all()


def test_metrics_do_not_depend_on_how_often_they_are_read(quick: Quick, shapes: ImageDataset) -> None:
    often, seldom = (list(Trainer(quick(), shapes, tick_seconds=s).run()) for s in (0.0, NEVER))
    assert np.array_equal(curve(often), curve(seldom))


def test_a_tick_comes_before_the_buffer_of_metrics_overflows(quick: Quick, shapes: ImageDataset) -> None:
    mlp = {"architecture": "mlp", "hidden_units": 8}
    spec = quick(
        total_steps=TICK_STEPS + 5, batch_size=2, generator=mlp, discriminator=mlp, ema={"enabled": False},
        previews={"every_steps": 10**6}, checkpoints={"every_steps": 10**6},
        safeguards={"every_steps": 10**5, "probe_every_steps": 10**6},
    )  # fmt: skip
    ticks = [e for e in Trainer(spec, shapes, tick_seconds=NEVER).run() if isinstance(e, Tick)]
    assert [t.step for t in ticks] == [TICK_STEPS, TICK_STEPS + 5]


def test_several_updates_of_each_network(quick: Quick, shapes: ImageDataset) -> None:
    trainer = Trainer(quick(total_steps=3, alternation={"d_steps": 2, "g_steps": 3}), shapes)
    list(trainer.run())
    assert trainer.images_seen == 3 * 2 * 6
    state = trainer.state()
    assert {int(s["step"]) for s in state["play"]["optimizer_d"]["state"].values()} == {6}
    assert {int(s["step"]) for s in state["play"]["optimizer_g"]["state"].values()} == {9}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_fifty_steps_and_stays_finite(quick: Quick, shapes: ImageDataset, name: str) -> None:
    spec = quick(preset=name, total_steps=50)
    events = list(Trainer(spec, shapes, tick_seconds=NEVER).run())
    assert np.isfinite(curve(events)).all()
    previews = [e for e in events if isinstance(e, PreviewReady)]
    assert not np.array_equal(previews[0].images, previews[-1].images)


def test_a_run_is_reproducible_and_depends_on_the_seed(quick: Quick, shapes: ImageDataset) -> None:
    runs = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(noise)
        trainer = Trainer(quick(seed=seed), shapes)
        runs.append((curve(list(trainer.run())), trainer.weights()))
    assert np.array_equal(runs[0][0], runs[1][0])
    assert all(torch.equal(a, runs[1][1][name]) for name, a in runs[0][1].items())
    assert not np.array_equal(runs[0][0], runs[2][0])


def test_training_does_not_use_the_global_generators(quick: Quick, shapes: ImageDataset) -> None:
    before, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    list(Trainer(quick(), shapes).run())
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python
    assert str(np.random.get_state(legacy=False)) == str(numpy)


def test_previews_have_one_row_per_class_and_match_a_sampler(quick: Quick, shapes: ImageDataset) -> None:
    trainer = Trainer(quick(seed=40), shapes)
    last = [e for e in trainer.run() if isinstance(e, PreviewReady)][-1]
    assert last.images.shape == (6, 12, 14, 1)
    assert (last.rows, last.row_labels) == (3, ("top", "middle", "low"))
    with trainer.sampling() as sampled:
        drawn = sampled.draw([0, 0, 1, 1, 2, 2], [40, 41] * 3)
    assert np.array_equal(last.images, drawn)


@pytest.mark.parametrize("ema", [True, False])
def test_previews_do_not_change_training(quick: Quick, shapes: ImageDataset, ema: bool) -> None:
    many, few = (
        list(Trainer(quick(total_steps=6, previews={"every_steps": n}, ema={"enabled": ema}), shapes).run())
        for n in (1, 100)
    )
    assert np.array_equal(curve(many), curve(few))


def test_an_unconditional_preview_has_eight_rows_without_labels(quick: Quick, shapes: ImageDataset) -> None:
    first = next(iter(Trainer(quick(conditioning={"kind": "none"}), shapes).run()))
    assert isinstance(first, PreviewReady)
    assert (len(first.images), first.rows, first.row_labels) == (16, 8, ())


def test_a_run_can_be_left_at_any_event_and_continued(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(total_steps=6, previews={"every_steps": 2}, checkpoints={"every_steps": 3})
    whole = Trainer(spec, shapes, tick_seconds=0.0)
    expected = curve(list(whole.run()))
    for count in range(len(list(Trainer(spec, shapes, tick_seconds=0.0).run()))):
        trainer = Trainer(spec, shapes, tick_seconds=0.0)
        run = trainer.run()
        before = [next(run) for _ in range(count)]
        del run
        assert np.array_equal(np.concatenate([curve([*before, *trainer.run()])]), expected)


def test_weights_are_the_average_or_g_itself(quick: Quick, shapes: ImageDataset) -> None:
    for enabled, key in ((True, "G_ema"), (False, "G")):
        trainer = Trainer(quick(ema={"enabled": enabled}), shapes)
        list(trainer.run())
        weights, state = trainer.weights(), trainer.state()["play"]
        assert weights.keys() == state[key].keys()
        assert all(torch.equal(tensor, state[key][name]) for name, tensor in weights.items())
        assert (state["G_ema"] is None) == (not enabled)


def test_further_training_does_not_change_a_state(quick: Quick, shapes: ImageDataset) -> None:
    trainer = Trainer(quick(checkpoints={"every_steps": 2}), shapes)
    run = trainer.run()
    next(event for event in run if isinstance(event, CheckpointDue))
    state = trainer.state()
    before = {name: tensor.clone() for name, tensor in state["play"]["D"].items()}
    list(run)
    assert all(torch.equal(before[name], tensor) for name, tensor in state["play"]["D"].items())


def break_d(trainer: Trainer) -> None:
    """Make one weight of D infinite."""
    with torch.no_grad():
        next(trainer._state.d.network.parameters()).view(-1)[0] = float("inf")


def run_and_break(spec: TrainSpec, data: ImageDataset, at: set[int]) -> tuple[Trainer, list[Event]]:
    """Train, and break D after each step of `at`, where a preview must be due. Return the trainer and its events."""
    trainer, events = Trainer(spec, data, tick_seconds=NEVER), []
    for event in trainer.run():
        events.append(event)
        if isinstance(event, PreviewReady) and event.step in at:
            break_d(trainer)
    return trainer, events


FREQUENT_CHECKS: dict[str, Any] = {
    "total_steps": 40,
    "previews": {"every_steps": 5},
    "checkpoints": {"every_steps": 5},
    "safeguards": {"every_steps": 10},
}


def test_steps_that_are_not_finite_are_reported_and_rolled_back(quick: Quick, shapes: ImageDataset) -> None:
    trainer, events = run_and_break(quick(**FREQUENT_CHECKS), shapes, at={15})
    bad = ~np.isfinite(curve(events)).all(axis=1)
    # No weight changes from the break to the next check. After it, D is as before the break.
    assert list(np.flatnonzero(bad) + 1) == [16, 17, 18, 19, 20]
    changes = [e for e in events if isinstance(e, HealthChanged) and e.raised]
    assert [(e.step, e.raised[0].code, e.raised[0].began_at_step) for e in changes] == [(20, "non_finite", 16)]
    assert trainer.step == 40
    assert all(torch.isfinite(p).all() for p in trainer._state.d.network.parameters())
    assert trainer._state.rate_scale == 0.5
    assert trainer._state.d.optimizer.param_groups[0]["lr"] == trainer.spec.optimizers.d.learning_rate / 2


def test_a_roll_back_restores_the_last_good_checkpoint(quick: Quick, shapes: ImageDataset) -> None:
    trainer, kept = Trainer(quick(**FREQUENT_CHECKS), shapes, tick_seconds=NEVER), {}
    for event in trainer.run():
        if isinstance(event, CheckpointDue):
            kept[event.step] = {k: v.clone() for k, v in trainer._state.learned()["D"].items()}
        if isinstance(event, PreviewReady) and event.step == 15:
            break_d(trainer)
        if isinstance(event, HealthChanged) and event.raised:
            now = trainer._state.learned()["D"]
            assert all(torch.equal(tensor, now[name]) for name, tensor in kept[10].items())
            break
    else:
        pytest.fail("there was no finding")


def test_repeated_roll_backs_end_as_diverged(quick: Quick, shapes: ImageDataset) -> None:
    with pytest.raises(DivergedError) as caught:
        run_and_break(quick(**FREQUENT_CHECKS), shapes, at={5, 15, 25, 35})
    assert caught.value.step == 26
    assert "NaN" in str(caught.value) or "finite" in str(caught.value)


def test_a_diverged_run_has_no_state_and_does_not_continue(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(**{**FREQUENT_CHECKS, "safeguards": {"every_steps": 10, "thresholds": {"roll_backs": 1}}})
    trainer = Trainer(spec, shapes, tick_seconds=NEVER)
    with pytest.raises(DivergedError):
        for event in trainer.run():
            if isinstance(event, PreviewReady) and event.step == 5:
                break_d(trainer)
    with pytest.raises(DivergedError):
        trainer.state()
    with pytest.raises(DivergedError):
        next(trainer.run())
    assert trainer.step == 10


def test_a_state_of_another_spec_or_data_set_is_refused(quick: Quick, shapes: ImageDataset) -> None:
    trainer = Trainer(quick(), shapes)
    list(trainer.run())
    state = trainer.state()
    with pytest.raises(StateMismatchError):
        Trainer(quick(batch_size=5), shapes, state=state)
    with pytest.raises(StateMismatchError):
        other = ImageDataset(shapes.info, shapes.images.flip(3), shapes.labels)
        Trainer(quick(), other, state=state)


def test_a_state_can_be_continued_for_longer_under_another_name(quick: Quick, shapes: ImageDataset) -> None:
    trainer = Trainer(quick(), shapes)
    list(trainer.run())
    longer = Trainer(quick(total_steps=6, name="longer"), shapes, state=trainer.state(), tick_seconds=NEVER)
    assert summary(list(longer.run())) == [("Tick", 6), ("PreviewReady", 6), ("CheckpointDue", 6)]


def test_a_state_at_the_end_gives_no_events(quick: Quick, shapes: ImageDataset) -> None:
    trainer = Trainer(quick(), shapes)
    list(trainer.run())
    assert list(Trainer(quick(), shapes, state=trainer.state()).run()) == []


class LargerGenerator(GeneratorSpec):
    """The spec of G in a later version, with one more field."""

    skips: bool = False


class LaterSpec(TrainSpec):
    """A spec of a later version, with one more field at the top and one inside."""

    generator: GeneratorSpec = LargerGenerator()
    noise: float = 0.0


def test_a_field_of_a_later_version_keeps_checkpoints_of_this_version_valid(
    quick: Quick, shapes: ImageDataset
) -> None:
    trainer = Trainer(quick(), shapes)
    list(trainer.run())
    body = quick(total_steps=6).model_dump()
    later = LaterSpec.model_validate(body | {"generator": LargerGenerator(**body["generator"])})
    assert Trainer(later, shapes, state=trainer.state()).step == 4
    with pytest.raises(StateMismatchError):
        Trainer(later.model_copy(update={"noise": 0.5}), shapes, state=trainer.state())


ATTENTIVE = {"architecture": "resnet", "self_attention": True}


@pytest.mark.parametrize(
    ("record", "written"),
    [
        (
            {
                "generator": {"architecture": "resnet"},
                "discriminator": {"architecture": "resnet", "spectral_norm": True},
            },
            "bfcd100639fdcb7619e55959d6499f560022be8a18fb53d5e41dcf9241ee49b6",
        ),
        (
            {"generator": ATTENTIVE, "discriminator": ATTENTIVE},
            "0315106a9cd1e9bfdd0af853433e311bd15966c925800b1c984dea1e9526ed92",
        ),
    ],
    ids=["residual", "attentive"],
)
def test_the_fingerprints_of_specs_are_those_that_earlier_versions_wrote(
    record: dict[str, Any], written: str
) -> None:
    assert fingerprint(from_record({"dataset": "x", **record}), "0" * 64) == written


def test_another_version_of_the_spec_has_another_fingerprint(quick: Quick) -> None:
    spec = quick()
    assert fingerprint(spec, "d") != fingerprint(spec.model_copy(update={"spec_version": 3}), "d")
    assert fingerprint(spec, "d") != fingerprint(spec, "e")


@pytest.mark.parametrize("tick_seconds", [0.0, NEVER])
def test_a_run_that_is_stopped_repeatedly_gives_all_events_of_one_run(
    quick: Quick, shapes: ImageDataset, tick_seconds: float
) -> None:
    spec = quick(total_steps=7, previews={"every_steps": 2}, checkpoints={"every_steps": 3})
    whole = summary(list(Trainer(spec, shapes, tick_seconds=tick_seconds).run()))
    pieces: list[tuple[str, int]] = []
    state: dict[str, Any] | None = None
    while not pieces or pieces[-1] != ("CheckpointDue", 7):
        trainer = Trainer(spec, shapes, state=state, tick_seconds=tick_seconds)
        events = summary(list(trainer.run(stop=lambda: True)))
        assert len({step for name, step in events if name == "Tick"}) == 1, "it did not stop at its first tick"
        pieces, state = pieces + events, trainer.state()
    assert pieces == whole


def test_a_state_has_the_number_of_threads(quick: Quick, shapes: ImageDataset) -> None:
    assert Trainer(quick(), shapes).state()["versions"]["threads"] == torch.get_num_threads()


def test_a_scheduled_run_cannot_be_continued_for_longer(quick: Quick, shapes: ImageDataset) -> None:
    scheduled = {"optimizers": {"g": {"schedule": "linear", "final_factor": 0.0}}}
    trainer = Trainer(quick(**scheduled), shapes)
    list(trainer.run())
    with pytest.raises(StateMismatchError):
        Trainer(quick(total_steps=6, **scheduled), shapes, state=trainer.state())
