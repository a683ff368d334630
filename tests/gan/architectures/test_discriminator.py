"""From D's features to what it says: logit, projection, class head, likeness within the batch."""

from __future__ import annotations

import torch

from gan.architectures.discriminator import DiscriminatorHead
from gan.layers.seeded_init import fill, he_normal
from tests.gan.architectures.variants import info
from tests.gan.quick import quick_spec

FEATURES = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 1])


def head(kind: str, kernels: int = 0) -> DiscriminatorHead:
    spec = quick_spec(conditioning={"kind": kind}, discriminator={"minibatch_features": kernels})
    made = DiscriminatorHead(spec, info(16, 1), features=10)
    fill(made, torch.Generator().manual_seed(0), he_normal)
    return made


def test_without_more_the_logit_is_linear_in_the_features() -> None:
    for kind in ("none", "concat"):
        plain = head(kind)
        judged = plain(FEATURES, None)
        assert torch.allclose(judged.logits, FEATURES @ plain.psi.weight[0] + plain.psi.bias)
        assert judged.class_logits is None
        assert torch.equal(judged.features, FEATURES)


def test_projection_adds_the_inner_product_with_the_labels_embedding() -> None:
    projecting = head("projection")
    assert projecting.projection is not None
    weight = projecting.projection.embedding.weight
    expected = projecting.psi(FEATURES)[:, 0] + (weight[LABELS] * FEATURES).sum(1)
    assert torch.allclose(projecting(FEATURES, LABELS).logits, expected, atol=1e-6)


def test_a_class_head_names_classes_and_is_told_none() -> None:
    naming = head("class_head")
    judged = naming(FEATURES, LABELS)
    assert judged.class_logits is not None
    assert judged.class_logits.shape == (4, 3)
    assert torch.equal(judged.class_logits, naming(FEATURES, LABELS.flip(0)).class_logits)
    assert torch.equal(judged.logits, naming(FEATURES, LABELS.flip(0)).logits)


def test_minibatch_discrimination_moves_the_logit_and_not_the_features() -> None:
    seeing = head("none", kernels=5)
    twins = FEATURES[:1].expand(4, -1)
    judged, alone = seeing(twins, None), seeing(FEATURES[:1], None)
    assert torch.equal(judged.features, twins)
    assert seeing.psi.in_features == 15
    assert not torch.allclose(judged.logits[0], alone.logits[0], atol=1e-3)
