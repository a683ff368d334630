"""The training state: alternation, schedules, the moving average, and restored weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gan.adversarial.distributed import ALONE
from gan.adversarial.networks import TrainedNetwork
from gan.adversarial.state import METRICS, TrainingState
from gan.data import ImageDataset
from gan.spec import TrainSpec

Quick = Callable[..., TrainSpec]
CPU = torch.device("cpu")


def training_state(spec: TrainSpec, data: ImageDataset) -> TrainingState:
    """Return the state of a run at step 0 on the CPU."""
    return TrainingState(spec, data, CPU, ALONE)


def updates(trained: TrainedNetwork) -> int:
    """Return how many updates the optimizer of a network has done."""
    counts = {int(state["step"]) for state in trained.optimizer.state.values()}
    return counts.pop() if counts else 0


@pytest.mark.parametrize(
    ("alternation", "d_updates", "g_updates", "images"),
    [
        ({"d_steps": 2, "g_steps": 3}, [2, 4, 6, 8], [3, 6, 9, 12], 12),
        ({"unit": "odd_even"}, [1, 1, 2, 2], [0, 1, 1, 2], 3),
        # 60 images in batches of 30 are two updates per epoch.
        ({"unit": "epoch"}, [1, 2, 2, 2], [0, 0, 1, 2], 15),
    ],
)
def test_each_alternation_updates_d_and_g_in_turn(
    quick: Quick,
    shapes: ImageDataset,
    alternation: dict[str, Any],
    d_updates: list[int],
    g_updates: list[int],
    images: float,
) -> None:
    spec = quick(alternation=alternation, batch_size=30 if alternation.get("unit") == "epoch" else 6)
    state = training_state(spec, shapes)
    seen = []
    for _ in range(4):
        metrics = state.advance()
        assert metrics.shape == (len(METRICS),)
        assert torch.isfinite(metrics).all()
        seen.append((updates(state.d), updates(state.g)))
    assert seen == list(zip(d_updates, g_updates, strict=True))
    assert state.images_seen == d_updates[-1] * spec.batch_size
    assert spec.images_per_step == images


@pytest.mark.parametrize("unit", ["odd_even", "epoch"])
def test_a_network_without_an_update_is_bit_identical_and_still_measured(
    quick: Quick, shapes: ImageDataset, unit: str
) -> None:
    state = training_state(quick(alternation={"unit": unit}, batch_size=60), shapes)
    d, g = state.d.network, state.g.network
    before = {name: tensor.clone() for name, tensor in g.state_dict().items()}
    after_d = state.advance()
    assert all(torch.equal(before[name], tensor) for name, tensor in g.state_dict().items())
    before = {name: tensor.clone() for name, tensor in d.state_dict().items()}
    after_g = state.advance()
    assert all(torch.equal(before[name], tensor) for name, tensor in d.state_dict().items())
    columns = METRICS.index("loss_g"), METRICS.index("loss_d")
    assert after_d[columns[0]] != 0 and after_g[columns[1]] != 0


def test_learning_rates_and_penalties_follow_their_schedules(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(
        total_steps=4,
        discriminator={"normalization": "none"},
        penalties=[{"kind": "r1", "weight": 8.0, "schedule": "cosine", "final_factor": 0.5}],
        optimizers={"g": {"learning_rate": 1e-3, "schedule": "linear", "final_factor": 0.0}},
        stabilizers={"instance_noise": 0.4, "instance_noise_until": 1.0},
    )
    state, rates, scheduled = training_state(spec, shapes), [], []
    for _ in range(4):
        scheduled.append(state._scheduled_values(state.step / spec.total_steps))
        state.advance()
        rates.append(
            (
                state.g.optimizer.param_groups[0]["lr"],
                state.d.optimizer.param_groups[0]["lr"],
            )
        )
    assert [g for g, _ in rates] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert {d for _, d in rates} == {6e-4}
    assert [k.penalty_weights[0] for k in scheduled] == pytest.approx(
        [8.0, 8 - 4 * 0.146447, 6.0, 4 + 4 * 0.146447], rel=1e-4
    )
    assert [k.noise for k in scheduled] == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_the_average_changes_with_updates_of_g(quick: Quick, shapes: ImageDataset) -> None:
    state = training_state(quick(alternation={"unit": "odd_even"}), shapes)

    def average() -> torch.Tensor:
        return torch.cat([p.flatten() for p in state.sampled.parameters()]).clone()

    first = average()
    state.advance()
    assert torch.equal(average(), first)
    state.advance()
    assert not torch.equal(average(), first)


def test_restored_weights_do_not_change_the_step(quick: Quick, shapes: ImageDataset) -> None:
    from gan.train import copied

    state = training_state(quick(total_steps=9), shapes)
    state.advance()
    learned = copied(state.learned())
    for _ in range(3):
        state.advance()
    state.load_learned(learned)
    assert (state.step, state.images_seen) == (4, 24)
    assert all(torch.equal(learned["D"][name], tensor) for name, tensor in state.d.network.state_dict().items())
    assert updates(state.d) == 1
    state.advance()
    # Further training does not change the copy, so that it can be restored again.
    moments = [state["exp_avg"].clone() for state in learned["optimizer_d"]["state"].values()]
    state.advance()
    assert all(
        torch.equal(a, state["exp_avg"])
        for a, state in zip(moments, learned["optimizer_d"]["state"].values(), strict=True)
    )
    assert updates(state.d) == 3


def test_updates_of_g_have_reals_of_their_own(quick: Quick, shapes: ImageDataset) -> None:
    changes = {"loss": {"kind": "relativistic"}}
    state = training_state(quick(**changes), shapes)
    d_reals, _ = state._d_batch()
    g_reals, labels = state._g_batch()
    assert g_reals is not None and labels is not None
    assert not torch.equal(d_reals, g_reals)
    state.advance()
    again, _ = state._g_batch()
    assert again is not None and not torch.equal(again, g_reals)
