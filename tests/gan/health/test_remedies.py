"""Remedies: one set of changes that makes a valid spec and addresses the cause of the finding."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from gan.findings import Code, HealthFinding, remedied
from gan.health import HealthMonitor
from gan.health.quality import BestEvaluation
from gan.health.remedies import remedy_for
from gan.health.symptom import UNINFORMATIVE_LABELS, Symptom
from gan.spec import TrainSpec, check_against, merged, preset_spec, resolve
from gan.spec.presets import PRESETS
from tests.gan.health.streams import FAILING, INFO, PLAIN, feed, spec_with

SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "smoothed": {"stabilizers": {"real_label": 0.9, "fake_label": 0.1}},
    "minibatch": {"discriminator": {"minibatch_features": 16}},
    "wide": {"generator": {"base_channels": 256, "z_dim": 1024}, "discriminator": {"base_channels": 256}},
    "tiny z": {"generator": {"z_dim": 1}},
    "far too fast": {"optimizers": {"g": {"learning_rate": 0.5}, "d": {"learning_rate": 0.5}}},
    "slow": {"optimizers": {"g": {"learning_rate": 1e-7}, "d": {"learning_rate": 1e-7}}},
    "many labels": {"conditioning": {"kind": "class_head", "embedding_dim": 8, "class_weight": 3.0}},
    "mlp": {"generator": {"architecture": "mlp"}, "discriminator": {"architecture": "mlp"}},
    "odd and even": {"alternation": {"unit": "odd_even"}},
    "epochs": {"alternation": {"unit": "epoch", "d_steps": 2}},
    "augmented": {"stabilizers": {"augmentation": ["color"], "instance_noise": 0.2}},
    "all R1": {"discriminator": {"normalization": "none"}, "penalties": [{"kind": "r1", "weight": 100.0}]},
    "conditional batch norm": {"conditioning": {"kind": "projection", "generator": "conditional_batch_norm"}},
}
BODIES = {
    **{name: {"dataset": "fashion-mnist", "preset": name} for name in PRESETS},
    **{name: merged(PLAIN, changes) for name, changes in SPECS.items()},
}
# If a remedy takes another preset, other sections, such as the number of steps, may take its values.
LEARNING = {"generator", "discriminator", "conditioning", "loss", "penalties", "optimizers", "stabilizers"}
CASES = [(name, code) for name in BODIES for code in get_args(Code)]


def finding_of(code: Code, spec: TrainSpec, cause: str | None = None) -> HealthFinding:
    """Return a finding of that code with its remedy for `spec`."""
    symptom = Symptom(code, "warning", 1, "Made up.", (), cause)
    remedy = remedy_for(symptom, spec, INFO, BestEvaluation(600, 3.0, 0.6))
    return HealthFinding(code, "warning", 1, 1, "Made up.", (), remedy)


def advised(code: Code, cause: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return pointer -> value of the remedy for the plain spec with `changes`."""
    finding = finding_of(code, resolve(merged(PLAIN, changes)), cause)
    return {remedy.pointer: remedy.value for remedy in finding.remedy}


def advice_to(preset: str, code: Code) -> dict[str, Any]:
    """Return pointer -> value of the remedy for a preset."""
    return {remedy.pointer: remedy.value for remedy in finding_of(code, preset_spec(preset)).remedy}


@pytest.mark.parametrize(("name", "code"), CASES)
def test_every_remedy_makes_a_valid_and_different_spec(name: str, code: Code) -> None:
    body = BODIES[name]
    spec = resolve(body)
    finding = finding_of(code, spec)
    assert finding.remedy
    cured = resolve(remedied(body, finding))
    check_against(cured, INFO)
    assert cured != spec
    assert all(remedy.why.endswith(".") for remedy in finding.remedy)
    # The remedy has the same result for the complete spec with all its defaults.
    again = resolve(remedied(spec.model_dump(mode="json"), finding))
    assert again.model_dump(include=LEARNING) == cured.model_dump(include=LEARNING)


@pytest.mark.parametrize("name", BODIES)
def test_uninformative_labels_are_not_used_any_more(name: str) -> None:
    body = BODIES[name]
    if not (spec := resolve(body)).conditional:
        return
    cured = resolve(remedied(body, finding_of("conditioning_ignored", spec, UNINFORMATIVE_LABELS)))
    assert not cured.conditional


@pytest.mark.parametrize("name", FAILING)
def test_every_finding_has_a_valid_remedy(name: str) -> None:
    spec, (_, run) = spec_with(), FAILING[name]
    for finding in feed(HealthMonitor(spec, INFO), spec, run, until=16_000):
        assert resolve(remedied(spec.model_dump(mode="json"), finding)) != spec


def usual() -> float:
    """Return the learning rate of the preset of the plain spec."""
    return preset_spec(PLAIN["preset"]).optimizers.d.learning_rate


def test_a_learning_rate_that_is_far_too_high_comes_first() -> None:
    rates = {f"/optimizers/{player}/learning_rate": usual() for player in "gd"}
    for code in ("vanishing_gradients", "mode_collapse", "never_learned", "divergence", "non_finite"):
        fast = {"g": {"learning_rate": 0.3}, "d": {"learning_rate": 0.3}}
        assert advised(code, optimizers=fast, generator={"z_dim": 1}) == rates


@pytest.mark.parametrize(("g", "d"), [(0.3, 0.02), (2e-5, 0.02), (0.3, 1e-6)])
def test_each_learning_rate_has_its_own_reason(g: float, d: float) -> None:
    spec = resolve(merged(PLAIN, {"optimizers": {"g": {"learning_rate": g}, "d": {"learning_rate": d}}}))
    reasons = {remedy.pointer: remedy.why for remedy in finding_of("vanishing_gradients", spec).remedy}
    assert reasons == {
        f"/optimizers/{player}/learning_rate": f"{rate:g} is far too high for adam."
        if rate > 2e-3
        else "The usual rate, to go with the other player's."
        for player, rate in (("g", g), ("d", d))
    }


def test_a_d_that_learns_too_fast_is_slowed_and_g_sped_up() -> None:
    rates = {"d": {"learning_rate": 0.02}, "g": {"learning_rate": 1e-5}}
    assert advised("vanishing_gradients", optimizers=rates) == {
        "/optimizers/d/learning_rate": usual(), "/optimizers/g/learning_rate": usual()
    }  # fmt: skip
    milder = {"d": {"learning_rate": 1.5e-3}, "g": {"learning_rate": 1e-4}}
    assert advised("vanishing_gradients", optimizers=milder) == {
        "/optimizers/d/learning_rate": usual(), "/optimizers/g/learning_rate": usual(), "/stabilizers/real_label": 0.9
    }  # fmt: skip
    many = advised("vanishing_gradients", alternation={"d_steps": 10})
    assert many == {"/alternation/d_steps": 1, "/stabilizers/real_label": 0.9}


def test_a_d_that_learns_too_slowly_is_sped_up() -> None:
    weak = {"d": {"learning_rate": 1e-6}}
    for code in ("generator_dominates", "mode_collapse", "never_learned"):
        assert advised(code, optimizers=weak) == {"/optimizers/d/learning_rate": 6e-4}
    assert advised("generator_dominates") == {"/alternation/d_steps": 2}


def test_several_steps_of_a_critic_are_not_changed() -> None:
    assert "/alternation/d_steps" not in advice_to("wgan-gp", "vanishing_gradients")


def test_a_collapse_with_a_short_z_gets_a_longer_one_and_any_other_wgan_gp() -> None:
    assert advised("mode_collapse", generator={"z_dim": 1}) == {"/generator/z_dim": 64}
    wide = advised("mode_collapse")
    assert wide["/loss/kind"] == "wasserstein"
    assert [(penalty["kind"], penalty["weight"]) for penalty in wide["/penalties"]] == [("gradient_penalty", 10.0)]
    assert wide["/discriminator/normalization"] == "none"
    assert wide["/alternation/d_steps"] == 5
    assert wide["/optimizers/d/beta1"] == 0.0


def test_vanished_gradients_get_wgan_gp_once_labels_are_smoothed_and_noise_is_added() -> None:
    tips = {"real_label": 0.9, "instance_noise": 0.1}
    assert advised("vanishing_gradients").keys() == {"/stabilizers/real_label", "/stabilizers/instance_noise"}
    assert advised("vanishing_gradients", stabilizers=tips)["/loss/kind"] == "wasserstein"
    epochs = advised("vanishing_gradients", stabilizers=tips, alternation={"unit": "epoch", "d_steps": 2})
    assert (epochs["/alternation/unit"], epochs["/alternation/d_steps"]) == ("step", 5)


@pytest.mark.parametrize("body", ["wgan-gp", "r3gan-small", "improved-gan"])
def test_wgan_gp_is_not_named_where_the_body_does_not_allow_it_or_is_as_good(body: str) -> None:
    assert advice_to(body, "mode_collapse").get("/loss/kind") != "wasserstein"


@pytest.mark.parametrize(
    "code", ["mode_collapse", "class_collapse", "vanishing_gradients", "past_best", "discriminator_overfitting"]
)
def test_few_images_are_augmented_first(code: Code) -> None:
    few = INFO.model_copy(update={"num_images": 816})
    symptom = Symptom(code, "warning", 1, "Made up.", ())
    spec = resolve(PLAIN)
    first = remedy_for(symptom, spec, few, BestEvaluation(600, 3.0, 0.6))[0]
    assert (first.pointer, first.value) == ("/stabilizers/augmentation", ["color", "translation", "cutout"])
    if code != "discriminator_overfitting":
        many = remedy_for(symptom, spec, INFO, BestEvaluation(600, 3.0, 0.6))
        assert "/stabilizers/augmentation" not in [change.pointer for change in many]


def test_projection_comes_before_a_class_head() -> None:
    assert advised("conditioning_ignored") == {"/conditioning/kind": "projection"}
    by_projection = advised("conditioning_ignored", conditioning={"kind": "projection"})
    assert by_projection == {"/conditioning/kind": "class_head"}
    assert advised("class_collapse") == {"/conditioning/kind": "projection"}


def test_fields_without_effect_are_reset() -> None:
    spec = {"conditioning": {"kind": "class_head", "embedding_dim": 8, "class_weight": 3.0}}
    advice = advised("conditioning_ignored", UNINFORMATIVE_LABELS, **spec)
    assert advice["/conditioning/kind"] == "none"
    assert (advice["/conditioning/embedding_dim"], advice["/conditioning/class_weight"]) == (32, 1.0)


def test_minimax_becomes_non_saturating_and_clipping_becomes_a_penalty() -> None:
    assert advised("vanishing_gradients", loss={"kind": "minimax"})["/loss/kind"] == "non_saturating"
    clipped = advice_to("wgan", "vanishing_gradients")
    assert [penalty["kind"] for penalty in clipped["/penalties"]] == ["gradient_penalty"]
    assert clipped["/stabilizers/weight_clip"] == 0.0


def test_a_run_that_is_too_short_is_made_longer_first() -> None:
    assert advised("never_learned", total_steps=100) == {"/total_steps": 1_563}
    recipe = advice_to("goodfellow2014", "never_learned")
    assert recipe["/preset"] == "cgan"
    assert recipe["/conditioning"]["kind"] == "none"


def test_the_other_remedies() -> None:
    assert advised("equilibrium", total_steps=20_000) == {"/total_steps": 600}
    assert advised("past_best")["/safeguards/policy"] == "stop_and_keep_best"
    assert [penalty["kind"] for penalty in advised("past_best")["/penalties"]] == ["r1"]
    weaker = advised("divergence", **SPECS["all R1"])
    assert [penalty["weight"] for penalty in weaker["/penalties"]] == [10.0]
    augmented = advised("discriminator_overfitting")
    assert augmented == {"/stabilizers/augmentation": ["color", "translation", "cutout"]}
    already = advised("discriminator_overfitting", stabilizers={"augmentation": ["color"]})
    assert already == {"/stabilizers/instance_noise": 0.1}
