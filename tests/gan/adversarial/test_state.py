"""The game under way: whose turn it is, what schedules do, and what stands in a state."""

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


def play(spec: TrainSpec, data: ImageDataset) -> TrainingState:
    return TrainingState(spec, data, CPU, ALONE)


def updates(player: TrainedNetwork) -> int:
    counts = {int(state["step"]) for state in player.optimizer.state.values()}
    return counts.pop() if counts else 0


@pytest.mark.parametrize(
    ("alternation", "of_d", "of_g", "images"),
    [
        ({"d_steps": 2, "g_steps": 3}, [2, 4, 6, 8], [3, 6, 9, 12], 12),
        ({"unit": "odd_even"}, [1, 1, 2, 2], [0, 1, 1, 2], 3),
        # 60 images in batches of 30: an epoch is two updates.
        ({"unit": "epoch"}, [1, 2, 2, 2], [0, 0, 1, 2], 15),
    ],
)
def test_whose_turn_it_is(
    quick: Quick, shapes: ImageDataset, alternation: dict[str, Any], of_d: list[int], of_g: list[int], images: float
) -> None:
    spec = quick(alternation=alternation, batch_size=30 if alternation.get("unit") == "epoch" else 6)
    playing = play(spec, shapes)
    seen = []
    for _ in range(4):
        metrics = playing.advance()
        assert metrics.shape == (len(METRICS),)
        assert torch.isfinite(metrics).all()
        seen.append((updates(playing.d), updates(playing.g)))
    assert seen == list(zip(of_d, of_g, strict=True))
    assert playing.images_seen == of_d[-1] * spec.batch_size
    assert spec.images_per_step == images


@pytest.mark.parametrize("unit", ["odd_even", "epoch"])
def test_who_waits_is_bit_identical_and_still_measured(quick: Quick, shapes: ImageDataset, unit: str) -> None:
    playing = play(quick(alternation={"unit": unit}, batch_size=60), shapes)
    d, g = playing.d.network, playing.g.network
    before = {name: tensor.clone() for name, tensor in g.state_dict().items()}
    of_d_step = playing.advance()
    assert all(torch.equal(before[name], tensor) for name, tensor in g.state_dict().items())
    before = {name: tensor.clone() for name, tensor in d.state_dict().items()}
    of_g_step = playing.advance()
    assert all(torch.equal(before[name], tensor) for name, tensor in d.state_dict().items())
    place = METRICS.index("loss_g"), METRICS.index("loss_d")
    assert of_d_step[place[0]] != 0 and of_g_step[place[1]] != 0


def test_learning_rates_and_penalties_follow_their_schedules(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(
        total_steps=4,
        discriminator={"normalization": "none"},
        penalties=[{"kind": "r1", "weight": 8.0, "schedule": "cosine", "final_factor": 0.5}],
        optimizers={"g": {"learning_rate": 1e-3, "schedule": "linear", "final_factor": 0.0}},
        stabilizers={"instance_noise": 0.4, "instance_noise_until": 1.0},
    )
    playing, rates, scheduled = play(spec, shapes), [], []
    for _ in range(4):
        scheduled.append(playing._scheduled_values(playing.step / spec.total_steps))
        playing.advance()
        rates.append(
            (
                playing.g.optimizer.param_groups[0]["lr"],
                playing.d.optimizer.param_groups[0]["lr"],
            )
        )
    assert [g for g, _ in rates] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert {d for _, d in rates} == {6e-4}
    assert [k.penalty_weights[0] for k in scheduled] == pytest.approx(
        [8.0, 8 - 4 * 0.146447, 6.0, 4 + 4 * 0.146447], rel=1e-4
    )
    assert [k.noise for k in scheduled] == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_the_average_moves_when_g_has_moved(quick: Quick, shapes: ImageDataset) -> None:
    playing = play(quick(alternation={"unit": "odd_even"}), shapes)

    def average() -> torch.Tensor:
        return torch.cat([p.flatten() for p in playing.sampled.parameters()]).clone()

    first = average()
    playing.advance()
    assert torch.equal(average(), first)
    playing.advance()
    assert not torch.equal(average(), first)


def test_what_was_learned_is_put_back_where_the_game_stands(quick: Quick, shapes: ImageDataset) -> None:
    from gan.train import copied

    playing = play(quick(total_steps=9), shapes)
    playing.advance()
    learned = copied(playing.learned())
    for _ in range(3):
        playing.advance()
    playing.load_learned(learned)
    assert (playing.step, playing.images_seen) == (4, 24)
    assert all(torch.equal(learned["D"][name], tensor) for name, tensor in playing.d.network.state_dict().items())
    assert updates(playing.d) == 1
    playing.advance()
    # The copy is a copy: what is learned from here on does not reach it, and it can be put back again.
    moments = [state["exp_avg"].clone() for state in learned["optimizer_d"]["state"].values()]
    playing.advance()
    assert all(
        torch.equal(a, state["exp_avg"])
        for a, state in zip(moments, learned["optimizer_d"]["state"].values(), strict=True)
    )
    assert updates(playing.d) == 3


def test_gs_phase_draws_reals_of_its_own(quick: Quick, shapes: ImageDataset) -> None:
    changes = {"loss": {"kind": "relativistic"}}
    playing = play(quick(**changes), shapes)
    of_d, _ = playing._d_batch()
    of_g, labels = playing._g_batch()
    assert of_g is not None and labels is not None
    assert not torch.equal(of_d, of_g)
    playing.advance()
    again, _ = playing._g_batch()
    assert again is not None and not torch.equal(again, of_g)
