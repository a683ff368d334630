"""Networks of every family and size: shapes, ranges, first weights, and dependence between images of a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan.architectures import NETWORKS, Discriminator, build_networks, networks_without_weights, place_network
from gan.frozen import frozen
from gan.sample import CHUNK, TrainedGenerator
from gan.spec import TrainSpec, preset_spec
from gan.spec.catalog import BUILTIN_DATASETS
from gan.spec.presets import PRESETS
from tests.gan.architectures.variants import D_IS_PER_IMAGE, G_IS_PER_IMAGE, VARIANTS, both, info

Quick = Callable[..., TrainSpec]
LABELS = torch.tensor([0, 1, 2])


def source(seed: int = 0) -> torch.Generator:
    """Return a source of random numbers."""
    return torch.Generator().manual_seed(seed)


def labels_for(spec: TrainSpec, count: int = 3) -> Tensor | None:
    """Return `count` labels, or None for an unconditional spec."""
    return torch.arange(count) % 3 if spec.conditional else None


def perturbed(network: nn.Module) -> nn.Module:
    """Add noise to all weights of `network`, so that no layer is still the identity. Return `network`."""
    for tensor in network.parameters():
        tensor.data.add_(0.05 * torch.randn(tensor.shape, generator=source()))
    return network


@pytest.mark.parametrize("kind", ["none", "concat", "projection", "class_head"])
@pytest.mark.parametrize(("side", "channels"), [(16, 1), (32, 3), (64, 4), (128, 2)])
@pytest.mark.parametrize("family", NETWORKS)
def test_every_size_gives_images_in_range_and_one_logit_per_image(
    quick: Quick, family: str, side: int, channels: int, kind: str
) -> None:
    spec = quick(conditioning={"kind": kind}, **both(family))
    G, D = build_networks(spec, info(side, channels))
    images = G(torch.randn(3, 8), labels_for(spec))
    assert images.shape == (3, channels, side, side)
    assert images.abs().max() <= 1
    output = D.outputs(images, labels_for(spec))
    assert output.logits.shape == (3,)
    assert output.features.ndim == 2
    assert len(output.features) == 3
    assert (output.class_logits is not None) == (kind == "class_head")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_forward_pass_of_d_returns_the_logits_of_its_outputs(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, D = build_networks(spec, info(16, 1))
    images = G(torch.randn(3, 8), labels_for(spec))
    with frozen(D):
        assert torch.equal(D(images, labels_for(spec)), D.outputs(images, labels_for(spec)).logits)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_label_changes_the_outputs_of_g_and_d(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, D = build_networks(spec, info(16, 1))
    perturbed(G).eval(), perturbed(D).eval()
    z, one, two = torch.randn(3, 8), torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])
    given = (one, two) if spec.conditional else (None, None)
    assert torch.equal(G(z, given[0]), G(z, given[1])) != spec.conditional
    images = G(z, given[0])
    # A class head gets no label; it predicts one.
    labelled = spec.conditioning.kind in ("concat", "projection")
    assert torch.equal(D(images, given[0]), D(images, given[1])) != labelled


def test_d_returns_logits_not_probabilities(quick: Quick) -> None:
    _, D = build_networks(quick(), info(16, 1))
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.mul_(30)
        assert D(torch.randn(64, 1, 16, 16), torch.zeros(64, dtype=torch.int64)).abs().max() > 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_first_weights_depend_on_the_seed_alone(quick: Quick, variant: str) -> None:
    changes = VARIANTS[variant]
    torch.manual_seed(1)
    one = build_networks(quick(seed=1, **changes), info(16, 1))
    torch.manual_seed(2)
    same = build_networks(quick(seed=1, **changes), info(16, 1))
    other = build_networks(quick(seed=2, **changes), info(16, 1))
    for network, twin, third in zip(one, same, other, strict=True):
        a, b, c = network.state_dict(), twin.state_dict(), third.state_dict()
        assert all(torch.equal(a[k], b[k]) and torch.isfinite(a[k]).all() for k in a)
        assert any(not torch.equal(a[k], c[k]) for k in a)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_and_buffer_is_initialised(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, D = networks_without_weights(spec, info(16, 1))
    for network, architecture in ((G, spec.generator.architecture), (D, spec.discriminator.architecture)):
        network.to_empty(device="cpu")
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.data.fill_(float("nan") if tensor.is_floating_point() else -1)
        NETWORKS[architecture].initialise(network, source())
        for name, tensor in network.state_dict().items():
            assert torch.isfinite(tensor).all() if tensor.is_floating_point() else (tensor >= 0).all(), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_building_does_not_use_the_global_generator(quick: Quick, variant: str) -> None:
    before = torch.get_rng_state()
    build_networks(quick(**VARIANTS[variant]), info(16, 1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_networks_without_weights_allocate_nothing(quick: Quick, variant: str) -> None:
    G, D = networks_without_weights(quick(**VARIANTS[variant]), info(128, 4))
    assert all(p.device.type == "meta" for p in [*G.parameters(), *D.parameters(), *G.buffers(), *D.buffers()])


@pytest.mark.parametrize("name", PRESETS)
def test_the_networks_of_every_preset_are_built(name: str) -> None:
    G, D = networks_without_weights(preset_spec(name), BUILTIN_DATASETS["fashion-mnist-mini"])
    assert min(sum(p.numel() for p in network.parameters()) for network in (G, D)) > 100_000


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_image_does_not_depend_on_the_rest_of_the_batch_by_one_bit(quick: Quick, variant: str) -> None:
    # Wide enough for the kernels of networks of real size.
    changes = {k: {**v, "base_channels": 32} for k, v in VARIANTS[variant].items() if "mlp" not in v.values()}
    spec = quick(**VARIANTS[variant] | {k: v for k, v in changes.items() if k != "conditioning"})
    G, _ = build_networks(spec, info(32, 1))
    place_network(perturbed(G), "cpu")
    drawn = TrainedGenerator(G.eval(), spec, info(32, 1), step=0)
    z, labels = torch.randn(CHUNK, 8, generator=source()), labels_for(spec, CHUNK)
    whole = drawn._forward(z, labels)
    for row in (1, 13, CHUNK - 1):
        alone = drawn._forward(z[row : row + 1], None if labels is None else labels[row : row + 1])
        assert torch.equal(alone[0], whole[row])


def mixes(outputs: Tensor, inputs: Tensor) -> bool:
    """Return whether the first row of `outputs` depends on any other row of `inputs`."""
    (gradient,) = torch.autograd.grad(outputs[0].square().sum(), inputs)
    assert gradient[0].abs().sum() > 0
    return bool(gradient[1:].abs().sum() > 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_batch_norms_and_minibatch_discrimination_mix_images(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, D = build_networks(spec, info(16, 1))
    perturbed(G), perturbed(D)
    z = torch.randn(3, 8, generator=source()).requires_grad_()
    assert mixes(G(z, labels_for(spec)), z) == (variant not in G_IS_PER_IMAGE)
    images = (torch.rand(3, 1, 16, 16, generator=source()) * 2 - 1).requires_grad_()
    assert mixes(D(images, labels_for(spec)), images) == (variant not in D_IS_PER_IMAGE)


@pytest.mark.parametrize("variant", D_IS_PER_IMAGE)
def test_the_gradient_of_d_in_its_images_can_be_penalised(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    _, D = build_networks(spec, info(16, 1))
    images = torch.rand(3, 1, 16, 16, generator=source()).requires_grad_()
    logits = perturbed(D)(images, labels_for(spec))
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    torch.autograd.backward(gradient.square().sum())
    gradients = [p.grad for p in D.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_weight_has_a_gradient(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, D = build_networks(spec, info(16, 1))
    output = perturbed(D).outputs(
        perturbed(G)(torch.randn(6, 8, generator=source()), labels_for(spec, 6)), labels_for(spec, 6)
    )  # type: ignore[operator]
    total = output.logits.square().sum()
    if output.class_logits is not None:
        total = total + output.class_logits.square().sum()
    torch.autograd.backward(total)
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_under_autocast_outputs_are_finite_and_gradients_fp32(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, D = build_networks(spec, info(16, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = perturbed(G)(torch.randn(6, 8, generator=source()), labels_for(spec, 6))
        output = perturbed(D)(images, labels_for(spec, 6))
    torch.autograd.backward(output.float().sum())
    assert torch.isfinite(images).all()
    assert torch.isfinite(output).all()
    assert {p.grad.dtype for p in [*G.parameters(), *D.parameters()] if p.grad is not None} == {torch.float32}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_copy_computes_the_same_and_shares_no_weights(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, _ = build_networks(spec, info(16, 1))
    twin = copy.deepcopy(perturbed(G)).eval()
    z, labels = torch.randn(3, 8), labels_for(spec)
    before = twin(z, labels)
    assert torch.equal(before, G.eval()(z, labels))
    perturbed(G)
    assert torch.equal(before, twin(z, labels))


@pytest.mark.parametrize("variant", VARIANTS)
def test_placing_changes_the_layout_of_convolutions_and_no_value(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    for network in build_networks(spec, info(16, 3)):
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        place_network(network, "cpu")
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        for weight in network.parameters():
            assert weight.ndim < 4 or weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_frozen_network_changes_no_buffer(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, D = build_networks(spec, info(16, 1))
    before = [t.clone() for t in [*G.state_dict().values(), *D.state_dict().values()]]
    with frozen(G), frozen(D):
        D(G(torch.randn(3, 8), labels_for(spec)), labels_for(spec))
    after = [*G.state_dict().values(), *D.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_d_is_a_discriminator(quick: Quick) -> None:
    assert all(
        isinstance(networks_without_weights(quick(**v), info(16, 1))[1], Discriminator) for v in VARIANTS.values()
    )
