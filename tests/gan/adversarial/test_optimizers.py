"""Gradient steps, and steps that are skipped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan.adversarial.optimizers import descend, optimizer_of, set_learning_rate
from gan.spec.fields import OptimizerSpec

SPECS = [OptimizerSpec(kind="adam"), OptimizerSpec(kind="rmsprop", learning_rate=1e-3, beta2=0.99)]
BOTH = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)


def network() -> nn.Linear:
    """Return a small network with fixed weights."""
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.3, -0.2]]))
    return linear


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all parameters and buffers, by name."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Return the names of the parameters and buffers that differ from `before`."""
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


@BOTH
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_no_weight(spec: OptimizerSpec, bad: float) -> None:
    module = network()
    optimizer = optimizer_of(module, spec)
    descend(optimizer, module(torch.ones(1, 2)).sum())
    before = weights(module)
    norm, _, skipped = descend(optimizer, (module(torch.ones(1, 2)) * bad).sum())
    assert not torch.isfinite(norm)
    assert bool(skipped)
    assert changed(module, before) == set()
    assert all(torch.isfinite(value).all() for state in optimizer.state.values() for value in state.values())
    _, _, skipped = descend(optimizer, module(torch.ones(1, 2)).sum())
    assert not bool(skipped)
    assert changed(module, before) == {"weight", "bias"}


def test_a_skipped_step_of_adam_keeps_its_moments_and_its_count() -> None:
    module = network()
    optimizer = optimizer_of(module, SPECS[0])
    descend(optimizer, module(torch.ones(1, 2)).sum())
    before = [{key: value.clone() for key, value in state.items()} for state in optimizer.state.values()]
    descend(optimizer, (module(torch.ones(1, 2)) * float("nan")).sum())
    for old, state in zip(before, optimizer.state.values(), strict=True):
        assert all(torch.equal(old[key], state[key]) for key in old)


@BOTH
def test_a_step_returns_the_gradient_norm_and_the_metrics(spec: OptimizerSpec) -> None:
    module = network()
    loss = (3 * module(torch.tensor([[1.0, 2.0]]))).sum()
    norm, metrics, _ = descend(optimizer_of(module, spec), loss, [loss, torch.tensor(7.0)])
    assert norm.item() == pytest.approx((3**2 + 6**2 + 3**2) ** 0.5)
    assert metrics.tolist() == pytest.approx([loss.item(), 7.0])


def test_rmsprop_is_the_equation_of_hinton() -> None:
    module = network()
    spec = OptimizerSpec(kind="rmsprop", learning_rate=0.01, beta2=0.9)
    before = weights(module)["weight"]
    descend(optimizer_of(module, spec), module(torch.tensor([[1.0, 2.0]])).sum())
    gradient = torch.tensor([[1.0, 2.0]])
    expected = before - 0.01 * gradient / ((0.1 * gradient.square()).sqrt() + 1e-8)
    assert torch.allclose(module.weight, expected, atol=1e-6)


@BOTH
def test_the_learning_rate_can_be_set_between_steps(spec: OptimizerSpec) -> None:
    module = network()
    optimizer = optimizer_of(module, spec)
    set_learning_rate(optimizer, 0.0)
    before = weights(module)
    descend(optimizer, module(torch.ones(1, 2)).sum())
    assert changed(module, before) == set()
