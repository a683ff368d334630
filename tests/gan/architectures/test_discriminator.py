"""The head of D: logit, projection, class head, minibatch discrimination."""

from __future__ import annotations

import torch

from gan.architectures.discriminator import DiscriminatorHead
from gan.layers.seeded_init import fill, he_normal
from tests.gan.architectures.variants import info
from tests.gan.quick import quick_spec

FEATURES = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 1])


def head(kind: str, kernels: int = 0) -> DiscriminatorHead:
    """Return a head with fixed weights, for features of length 10."""
    spec = quick_spec(conditioning={"kind": kind}, discriminator={"minibatch_features": kernels})
    built = DiscriminatorHead(spec, info(16, 1), features=10)
    fill(built, torch.Generator().manual_seed(0), he_normal)
    return built


def test_the_plain_logit_is_linear_in_the_features() -> None:
    for kind in ("none", "concat"):
        plain = head(kind)
        output = plain(FEATURES, None)
        assert torch.allclose(output.logits, FEATURES @ plain.psi.weight[0] + plain.psi.bias)
        assert output.class_logits is None
        assert torch.equal(output.features, FEATURES)


def test_projection_adds_the_inner_product_with_the_labels_embedding() -> None:
    projecting = head("projection")
    assert projecting.projection is not None
    weight = projecting.projection.embedding.weight
    expected = projecting.psi(FEATURES)[:, 0] + (weight[LABELS] * FEATURES).sum(1)
    assert torch.allclose(projecting(FEATURES, LABELS).logits, expected, atol=1e-6)


def test_a_class_head_predicts_classes_without_using_the_label() -> None:
    class_head = head("class_head")
    output = class_head(FEATURES, LABELS)
    assert output.class_logits is not None
    assert output.class_logits.shape == (4, 3)
    assert torch.equal(output.class_logits, class_head(FEATURES, LABELS.flip(0)).class_logits)
    assert torch.equal(output.logits, class_head(FEATURES, LABELS.flip(0)).logits)


def test_minibatch_discrimination_changes_the_logit_and_not_the_features() -> None:
    minibatch = head("none", kernels=5)
    twins = FEATURES[:1].expand(4, -1)
    output, alone = minibatch(twins, None), minibatch(FEATURES[:1], None)
    assert torch.equal(output.features, twins)
    assert minibatch.psi.in_features == 15
    assert not torch.allclose(output.logits[0], alone.logits[0], atol=1e-3)
