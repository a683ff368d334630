"""The memory bound is never below the estimate; otherwise the API would accept a job that fits on no device."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan.estimate import estimate
from gan.spec import SpecError, image_size, max_memory_bytes, preset_spec, resolve
from gan.spec.catalog import BUILTIN_DATASETS, DatasetClass, DatasetInfo
from gan.spec.families import FAMILIES, Architecture
from gan.spec.presets import PRESETS

MINI = BUILTIN_DATASETS["fashion-mnist-mini"]
LARGE = DatasetInfo(
    name="large",
    num_images=5_000,
    channels=3,
    height=128,
    width=128,
    classes=tuple(DatasetClass(id=i, label=str(i), count=5) for i in range(1_000)),
    sha256="0" * 64,
)


def network(architecture: Architecture, widths: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for networks of that family. In narrow ones, the parts of a fixed size dominate."""
    fields: dict[str, Any] = {"architecture": st.just(architecture)}
    family = FAMILIES[architecture]
    fields[family.width] = widths
    if "self_attention" in family.options:
        fields["self_attention"] = st.booleans()
        fields["attention_pooling"] = st.booleans()
    return st.fixed_dictionaries(fields)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the body of a job."""
    architecture = draw(st.sampled_from(list(FAMILIES)))
    family = FAMILIES[architecture]
    widths = st.sampled_from([8, 256, 4096] if family.fully_connected else [4, 32, 256])
    body: dict[str, Any] = {
        "dataset": "x",
        "batch_size": draw(st.sampled_from([2, 64, 4096])),
        "generator": draw(network(architecture, widths)) | {"z_dim": draw(st.sampled_from([1, 1024]))},
        "discriminator": draw(network(architecture, widths))
        | {"minibatch_features": draw(st.sampled_from([0, 256])), "normalization": "none"},
        "conditioning": {"kind": draw(st.sampled_from(["none", "projection", "class_head"])), "embedding_dim": 512},
    }
    if "normalization" in family.options:
        body["generator"]["normalization"] = draw(st.sampled_from(["batch", "virtual_batch"]))
    if draw(st.booleans()):
        kinds = draw(st.sets(st.sampled_from(["gradient_penalty", "r1", "r2"]), min_size=1))
        body["penalties"] = [{"kind": kind, "weight": 1.0} for kind in sorted(kinds)]
        body["discriminator"]["minibatch_features"] = 0
    if draw(st.booleans()):
        body["stabilizers"] = {"historical_averaging": 0.1}
    return body


@settings(max_examples=25)
@given(body=bodies(), info=st.sampled_from([MINI, LARGE]))
def test_no_spec_needs_more_than_its_bound(body: dict[str, Any], info: DatasetInfo) -> None:
    for part in ("discriminator", "conditioning"):
        # A field without effect is refused, so it is left out here.
        body[part] = {k: v for k, v in body[part].items() if not (k == "normalization" and v == "none")}
    try:
        spec = resolve(body)
    except SpecError:
        return
    images = info.num_images * (info.channels * info.height * info.width + 8)
    needed = estimate(spec, info).memory_bytes - images
    assert needed <= max_memory_bytes(spec, image_size(spec, info)) <= max_memory_bytes(spec)


@pytest.mark.parametrize("name", PRESETS)
def test_the_bound_of_every_preset_fits_on_an_ordinary_host(name: str) -> None:
    spec = preset_spec(name)
    assert max_memory_bytes(spec, image_size(spec, MINI)) < 8 * 2**30
    assert estimate(spec, MINI).memory_bytes < max_memory_bytes(spec, image_size(spec, MINI)) + 2**23


def test_the_bound_of_the_default_fits_on_the_smallest_device() -> None:
    assert max_memory_bytes(resolve({"dataset": "x"})) <= 2 * 2**30
