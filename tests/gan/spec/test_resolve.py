"""Validation of a spec: which bodies are accepted, and the problems of the others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from gan.spec import (
    SpecError,
    SpecProblem,
    TrainSpec,
    UnknownPresetError,
    check_against,
    from_record,
    image_size,
    resolve,
)
from gan.spec.catalog import BUILTIN_DATASETS, DatasetInfo
from gan.spec.presets import PRESETS


def problems_in(body: dict[str, Any]) -> dict[str, SpecProblem]:
    """Return the problems of an invalid body by their pointers."""
    with pytest.raises(SpecError) as caught:
        resolve(body)
    return {problem.pointer: problem for problem in caught.value.problems}


def body_with(**changes: Any) -> dict[str, Any]:
    """Return the body of a plain conditional GAN with `changes`; its conditioning works with every family."""
    return {"dataset": "fashion-mnist-mini", "preset": "cgan-concat", **changes}


def test_a_body_with_a_data_set_alone_is_complete() -> None:
    spec = resolve({"dataset": "fashion-mnist-mini"})
    assert spec.preset == "cgan"
    assert spec.conditional
    assert TrainSpec.model_validate_json(spec.model_dump_json()) == spec


def test_every_problem_is_reported_at_once_each_with_its_pointer() -> None:
    found = problems_in({"batch_size": 1, "optimizers": {"g": {"learning_rate": 0}}, "loss": {"kind": "hing"}})
    assert {pointer: p.code for pointer, p in found.items()} == {
        "/dataset": "missing-field",
        "/batch_size": "out-of-range",
        "/optimizers/g/learning_rate": "out-of-range",
        "/loss/kind": "not-one-of",
    }


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("64", "wrong-type"),
        (True, "wrong-type"),
        (64.5, "wrong-type"),
        (None, "wrong-type"),
        ([64], "wrong-type"),
        (1, "out-of-range"),
        (10**9, "out-of-range"),
    ],
)
def test_a_wrong_batch_size_is_refused(value: object, code: str) -> None:
    assert problems_in(body_with(batch_size=value))["/batch_size"].code == code


def test_a_whole_number_written_as_a_float_is_that_number() -> None:
    spec = resolve(body_with(batch_size=64.0))
    assert spec.batch_size == 64
    assert isinstance(spec.batch_size, int)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    assert "/optimizers/d/learning_rate" in problems_in(body_with(optimizers={"d": {"learning_rate": value}}))
    assert "/batch_size" in problems_in(body_with(batch_size=value))


def test_the_error_of_an_unknown_field_names_the_most_similar_one() -> None:
    problem = problems_in(body_with(total_step=10))["/total_step"]
    assert problem.code == "unknown-field"
    assert "'total_steps'" in problem.detail


def test_a_nested_unknown_field_is_compared_with_the_fields_of_its_object() -> None:
    problem = problems_in(body_with(optimizers={"g": {"learnin_rate": 0.1}}))["/optimizers/g/learnin_rate"]
    assert "'learning_rate'" in problem.detail


def test_the_error_of_an_unknown_field_otherwise_names_all_fields() -> None:
    problem = problems_in(body_with(ema={"qqqq": 1}))["/ema/qqqq"]
    assert "enabled" in problem.detail
    assert "half_life_images" in problem.detail


def test_a_pointer_is_escaped_as_in_rfc_6901() -> None:
    assert "/a~1b~0c" in problems_in(body_with(**{"a/b~c": 1}))


def test_a_label_with_a_bad_key_is_refused() -> None:
    assert problems_in(body_with(labels={"bad key": "x"}))["/labels/bad key"].code == "bad-format"


def test_at_most_sixteen_labels() -> None:
    assert resolve(body_with(labels={f"k{i}": "v" for i in range(16)}))
    assert problems_in(body_with(labels={f"k{i}": "v" for i in range(17)}))["/labels"].code == "out-of-range"


def test_the_error_of_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UnknownPresetError) as caught:
        resolve(body_with(preset="cgann"))
    (problem,) = caught.value.problems
    assert (problem.pointer, problem.code) == ("/preset", "unknown-preset")
    assert "cgan" in problem.detail
    assert "dcgan" in problem.detail


def test_a_preset_that_is_not_text_has_a_wrong_type() -> None:
    assert problems_in(body_with(preset=7))["/preset"].code == "wrong-type"


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolve(body_with()).batch_size = 8  # type: ignore[misc]


MLP_BOTH = {"generator": {"architecture": "mlp"}, "discriminator": {"architecture": "mlp"}}
UNNORMALISED = {"normalization": "none"}
R1 = {"kind": "r1", "weight": 1.0}
GRADIENT_PENALTY = {"kind": "gradient_penalty", "weight": 10.0}

WITHOUT_EFFECT: list[tuple[str, dict[str, Any], str]] = [
    ("/generator/hidden_units", {"generator": {"hidden_units": 64}}, "'mlp'"),
    ("/discriminator/hidden_units", {"discriminator": {"hidden_units": 64}}, "'mlp'"),
    ("/generator/base_channels", {"preset": "goodfellow2014", "generator": {"base_channels": 64}}, "'dcgan'"),
    ("/discriminator/base_channels", {"preset": "goodfellow2014", "discriminator": {"base_channels": 8}}, "'dcgan'"),
    ("/discriminator/normalization", {"preset": "sagan", "discriminator": {"normalization": "layer"}}, "'dcgan'"),
    ("/generator/spectral_norm", {"preset": "r3gan-small", "generator": {"spectral_norm": True}}, "'resnet'"),
    (
        "/discriminator/self_attention",
        {"preset": "goodfellow2014", "discriminator": {"self_attention": True}},
        "'dcgan'",
    ),
    ("/generator/attention_pooling", {"generator": {"attention_pooling": True}}, "self_attention to true"),
    (
        "/discriminator/attention_pooling",
        {"preset": "goodfellow2014", "discriminator": {"attention_pooling": True}},
        "self_attention to true",
    ),
    ("/discriminator/inner_channels", {"discriminator": {"inner_channels": "input"}}, "'resnet'"),
    ("/conditioning/embedding_dim", {"conditioning": {"kind": "none", "embedding_dim": 8}}, "'concat'"),
    ("/conditioning/generator", {"preset": "dcgan", "conditioning": {"generator": "conditional_batch_norm"}}, "kind"),
    ("/conditioning/class_weight", {"conditioning": {"class_weight": 0.5}}, "'class_head'"),
    ("/optimizers/g/beta1", {"optimizers": {"g": {"kind": "rmsprop", "beta1": 0.1}}}, "'adam'"),
    ("/optimizers/d/final_factor", {"optimizers": {"d": {"final_factor": 0.1}}}, "'linear'"),
    (
        "/penalties/0/final_factor",
        {"discriminator": UNNORMALISED, "penalties": [{**R1, "final_factor": 0.5}]},
        "'cosine'",
    ),
    ("/alternation/d_steps", {"alternation": {"unit": "odd_even", "d_steps": 3}}, "'step'"),
    ("/alternation/fakes", {"alternation": {"d_steps": 5, "fakes": "fresh"}}, "one update of each"),
    ("/stabilizers/instance_noise_until", {"stabilizers": {"instance_noise_until": 0.9}}, "above 0"),
    ("/ema/half_life_images", {"ema": {"enabled": False, "half_life_images": 10}}, "true"),
    ("/evaluation/images", {"evaluation": {"enabled": False, "images": 500}}, "true"),
]


@pytest.mark.parametrize(("pointer", "fields", "fix"), WITHOUT_EFFECT)
def test_a_field_without_effect_is_refused_with_a_remedy(pointer: str, fields: dict[str, Any], fix: str) -> None:
    found = problems_in(body_with(**fields))
    assert {where: p.code for where, p in found.items()} == {pointer: "has-no-effect"}
    assert fix in found[pointer].detail


CONTRADICTIONS: list[tuple[str, str, dict[str, Any], str]] = [
    ("penalty-with-batch-norm", "/discriminator/normalization", {"penalties": [R1]}, "'layer' or 'none'"),
    (
        "penalty-with-batch-norm",
        "/discriminator/normalization",
        {"penalties": [GRADIENT_PENALTY]},
        "'layer' or 'none'",
    ),
    (
        "penalty-with-minibatch",
        "/discriminator/minibatch_features",
        {"discriminator": {**UNNORMALISED, "minibatch_features": 8}, "penalties": [R1]},
        "0",
    ),
    (
        "penalty-twice",
        "/penalties",
        {"discriminator": UNNORMALISED, "penalties": [R1, R1]},
        "once",
    ),
    ("critic-not-lipschitz", "/loss/kind", {"loss": {"kind": "wasserstein"}}, "gradient_penalty"),
    (
        "clip-with-gradient-penalty",
        "/stabilizers/weight_clip",
        {
            "discriminator": UNNORMALISED,
            "loss": {"kind": "wasserstein"},
            "penalties": [GRADIENT_PENALTY],
            "stabilizers": {"weight_clip": 0.01},
        },
        "weight_clip to 0",
    ),
    (
        "smoothing-without-cross-entropy",
        "/stabilizers/real_label",
        {"loss": {"kind": "hinge"}, "stabilizers": {"real_label": 0.9}},
        "'non_saturating'",
    ),
    (
        "smoothing-without-cross-entropy",
        "/stabilizers/fake_label",
        {"loss": {"kind": "least_squares"}, "stabilizers": {"fake_label": 0.1}},
        "'non_saturating'",
    ),
    (
        "augmentation-twice",
        "/stabilizers/augmentation",
        {"stabilizers": {"augmentation": ["color", "color"]}},
        "once",
    ),
    (
        "no-batch-norm",
        "/conditioning/generator",
        {**MLP_BOTH, "conditioning": {"generator": "conditional_batch_norm"}},
        "'concat'",
    ),
    (
        "no-batch-norm",
        "/conditioning/generator",
        {"generator": UNNORMALISED, "conditioning": {"generator": "conditional_batch_norm"}},
        "'concat'",
    ),
    (
        "best-without-evaluation",
        "/safeguards/policy",
        {"evaluation": {"enabled": False}, "safeguards": {"policy": "stop_and_keep_best"}},
        "'warn'",
    ),
    (
        "not-conditional",
        "/evaluation/train_on_fakes",
        {"conditioning": {"kind": "none"}, "evaluation": {"train_on_fakes": True}},
        "conditioning.kind",
    ),
    (
        "too-many-evaluations",
        "/evaluation/every_steps",
        {"evaluation": {"every_steps": 1}, "total_steps": 2_001},
        "2",
    ),
    ("architectures-differ", "/discriminator/architecture", {"generator": {"architecture": "mlp"}}, "'mlp'"),
]


@pytest.mark.parametrize(("code", "pointer", "fields", "fix"), CONTRADICTIONS)
def test_a_contradiction_is_refused_with_a_remedy(code: str, pointer: str, fields: dict[str, Any], fix: str) -> None:
    found = problems_in(body_with(**fields))
    assert {where: p.code for where, p in found.items()} == {pointer: code}
    assert fix in found[pointer].detail


COMPATIBLE: list[dict[str, Any]] = [
    {"loss": {"kind": "wasserstein"}, "stabilizers": {"weight_clip": 0.01}},
    {"loss": {"kind": "wasserstein"}, "discriminator": {"spectral_norm": True}},
    {"loss": {"kind": "wasserstein"}, "discriminator": UNNORMALISED, "penalties": [GRADIENT_PENALTY]},
    {"discriminator": {"normalization": "layer"}, "penalties": [R1, {**R1, "kind": "r2"}]},
    {**MLP_BOTH, "penalties": [GRADIENT_PENALTY]},
    {"stabilizers": {"real_label": 0.9, "fake_label": 0.1}, "loss": {"kind": "minimax"}},
    {"conditioning": {"kind": "projection", "generator": "conditional_batch_norm"}},
    {"generator": {"architecture": "resnet"}, "conditioning": {"generator": "conditional_batch_norm"}},
    {"conditioning": {"kind": "class_head", "class_weight": 0.5}},
    {"alternation": {"unit": "epoch", "d_steps": 2}},
    {"alternation": {"unit": "odd_even"}},
    {"ema": {"enabled": False}, "evaluation": {"enabled": False}},
    {**MLP_BOTH, "conditioning": {"kind": "none"}},
]


@pytest.mark.parametrize("body", [*COMPATIBLE, *({"preset": preset} for preset in PRESETS)])
def test_a_complete_spec_is_valid(body: dict[str, Any]) -> None:
    spec = resolve(body_with(**body))
    assert resolve(spec.model_dump(mode="json")) == spec
    assert from_record(spec.model_dump(mode="json")) == spec


def test_a_problem_in_a_list_has_a_pointer() -> None:
    found = problems_in(body_with(discriminator=UNNORMALISED, penalties=[R1, {"kind": "r2", "wieght": 1.0}]))
    assert {where: p.code for where, p in found.items()} == {
        "/penalties/1/weight": "missing-field",
        "/penalties/1/wieght": "unknown-field",
    }
    assert "'weight'" in found["/penalties/1/wieght"].detail


@pytest.mark.parametrize(
    ("fields", "scheduled"),
    [
        ({}, False),
        ({"optimizers": {"g": {"schedule": "linear", "final_factor": 0.0}}}, True),
        ({"stabilizers": {"instance_noise": 0.1}}, True),
        ({"discriminator": UNNORMALISED, "penalties": [{**R1, "schedule": "cosine", "final_factor": 0.1}]}, True),
    ],
)
def test_a_spec_is_scheduled_if_its_length_affects_learning(fields: dict[str, Any], scheduled: bool) -> None:
    assert resolve(body_with(**fields)).scheduled is scheduled


def test_fields_with_effect_are_accepted() -> None:
    wide = resolve(body_with(preset="goodfellow2014", generator={"hidden_units": 64}, ema={"enabled": True}))
    assert (wide.generator.hidden_units, wide.ema.enabled) == (64, True)
    assert (
        resolve(body_with(conditioning={"embedding_dim": 8}, ema={"half_life_images": 10})).ema.half_life_images == 10
    )


def info(height: int = 28, width: int = 28, num_images: int = 100, labelled: bool = True) -> DatasetInfo:
    """Return the description of a data set."""
    classes = BUILTIN_DATASETS["fashion-mnist"].classes if labelled else ()
    return DatasetInfo(name="mine", num_images=num_images, channels=1, height=height, width=width, classes=classes)


def codes_against(spec: TrainSpec, dataset: DatasetInfo) -> dict[str, str]:
    """Return pointer -> code of the problems of `spec` with `dataset`."""
    with pytest.raises(SpecError) as caught:
        check_against(spec, dataset)
    return {p.pointer: p.code for p in caught.value.problems}


def test_all_problems_with_the_data_set_are_reported_at_once() -> None:
    found = codes_against(resolve(body_with()), info(height=130, num_images=10, labelled=False))
    assert found == {
        "/conditioning/kind": "dataset-without-labels",
        "/batch_size": "batch-larger-than-dataset",
        "/dataset": "images-too-large",
    }


def test_a_spec_that_fits_the_data_set_is_accepted() -> None:
    check_against(resolve(body_with(batch_size=100)), info())
    check_against(resolve(body_with(preset="dcgan")), info(num_images=128, labelled=False))


def test_a_batch_one_larger_than_the_data_set_is_refused() -> None:
    assert codes_against(resolve(body_with(batch_size=101)), info()) == {"/batch_size": "batch-larger-than-dataset"}


@pytest.mark.parametrize(
    ("height", "width", "side"), [(3, 5, 16), (16, 16, 16), (17, 2, 32), (28, 28, 32), (64, 40, 64), (65, 65, 128)]
)
def test_convolutional_networks_work_at_the_next_power_of_two(height: int, width: int, side: int) -> None:
    assert image_size(resolve(body_with()), info(height, width)) == side


def test_fully_connected_networks_work_at_the_size_of_the_images() -> None:
    assert image_size(resolve(body_with(preset="goodfellow2014")), info(20, 28)) == 28


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield `model` and all models in its fields."""
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from models(field.annotation)


def test_every_field_has_a_description() -> None:
    missing = [
        f"{model.__name__}.{name}"
        for model in models(TrainSpec)
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert missing == []


def test_the_error_of_too_many_previews_names_a_valid_number() -> None:
    body = {"dataset": "fashion-mnist-mini", "total_steps": 1_000_001, "evaluation": {"enabled": False}}
    with pytest.raises(SpecError) as caught:
        resolve({**body, "previews": {"every_steps": 100 - 1}})
    (problem,) = caught.value.problems
    assert (problem.pointer, problem.code) == ("/previews/every_steps", "too-many-previews")
    assert "101 or more" in problem.detail
    resolve({**body, "previews": {"every_steps": 101}})
