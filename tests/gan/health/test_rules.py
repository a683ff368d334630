"""Each kind of failure gives its own finding and no other; a healthy run gives none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gan.findings import HealthFinding
from gan.health import HealthMonitor
from gan.spec import TrainSpec
from tests.gan.health.streams import (
    EVENLY,
    FAILING,
    FAILS_AT,
    GOOD,
    HEALTHY,
    INFO,
    LABELS,
    NAMES,
    NOISE,
    REALS,
    SimulatedRun,
    feed,
    spec_with,
)

UNTIL = 16_000


def found(run: SimulatedRun, spec: TrainSpec | None = None, until: int = UNTIL) -> list[HealthFinding]:
    """Return all findings in `run` up to step `until`."""
    spec = spec or spec_with()
    return list(feed(HealthMonitor(spec, INFO), spec, run, until=until))


def codes(findings: list[HealthFinding]) -> set[str]:
    """Return the codes of `findings`."""
    return {finding.code for finding in findings}


def test_a_healthy_run_raises_nothing_in_20k_steps() -> None:
    spec = spec_with()
    health = HealthMonitor(spec, INFO)
    assert list(feed(health, spec, HEALTHY)) == []
    assert health.verdict == "healthy"
    assert health.findings == ()


@pytest.mark.parametrize("name", FAILING)
def test_each_failure_gives_its_own_finding_and_no_other(name: str) -> None:
    code, run = FAILING[name]
    # The evidence of these findings begins earlier: at the first of several probes, or at the best evaluation.
    early = {"discriminator_overfitting": 1_500, "past_best": 2_000}.get(code, 100)
    findings = found(run)
    assert codes(findings) == {code}
    for finding in findings:
        assert max(1, run.from_step - early) <= finding.began_at_step <= finding.found_at_step <= UNTIL
        assert finding.evidence
        assert finding.message.endswith(".")


# Synthetic corruptions of real images, as measured: a good generator turns into one of these.
CORRUPTIONS: dict[str, tuple[str | None, SimulatedRun]] = {
    "real images": (None, SimulatedRun(evaluation=REALS)),
    "one image a class": (
        "mode_collapse",
        SimulatedRun(
            probe={"diversity": 0.0, "class_diversity": dict.fromkeys(LABELS, 0.0), "duplicates": 1.0},
            evaluation={
                "fcd": 4.7, "precision": 1.0, "recall": 0.0, "coverage": 0.013, "label_accuracy": 1.0,
                "diversity": 0.0,
            },
            tables={"within_class_diversity": dict.fromkeys(LABELS, 0.0)},
        ),
    ),
    "50 images a class": (
        "mode_collapse",
        SimulatedRun(
            evaluation={"fcd": 0.15, "precision": 0.94, "recall": 0.02, "coverage": 0.386, "label_accuracy": 0.92},
        ),
    ),
    "a class dropped": (
        "class_collapse",
        SimulatedRun(
            evaluation={"fcd": 1.18, "precision": 0.95, "recall": 0.95, "coverage": 0.911, "label_accuracy": 0.925},
            tables={"class_histogram": {**dict.fromkeys(LABELS, 1 / 9), "Sandal": 0.0}},
        ),
    ),
    "labels shuffled": (
        "conditioning_ignored",
        SimulatedRun(
            evaluation={"fcd": 0.009, "precision": 0.95, "recall": 0.95, "coverage": 0.968, "label_accuracy": 0.097},
        ),
    ),
    "blurred": (
        "past_best",
        SimulatedRun(
            evaluation={"fcd": 10.2, "precision": 0.54, "recall": 0.03, "coverage": 0.09, "label_accuracy": 0.78},
        ),
    ),
    "noise": (
        "past_best",
        SimulatedRun(evaluation=NOISE, tables={"class_histogram": {**dict.fromkeys(LABELS, 0.0), "Bag": 1.0}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_gives_its_own_finding(name: str) -> None:
    expected, run = CORRUPTIONS[name]
    # After five evaluations without a new best, any failure gives past_best, too.
    until = UNTIL if expected in (None, "past_best") else FAILS_AT + 2_000
    assert codes(found(run, until=until)) == ({expected} if expected else set())


def test_corruptions_from_the_first_step_are_found_too() -> None:
    from_the_start = {name: replace(run, from_step=1) for name, (_, run) in CORRUPTIONS.items()}
    assert codes(found(from_the_start["one image a class"])) == {"mode_collapse"}
    assert codes(found(from_the_start["50 images a class"])) == {"mode_collapse"}
    assert codes(found(from_the_start["a class dropped"])) == {"class_collapse"}
    assert codes(found(from_the_start["labels shuffled"])) == {"conditioning_ignored"}
    assert codes(found(from_the_start["noise"])) == {"never_learned"}
    assert codes(found(from_the_start["real images"])) == set()


def test_low_coverage_early_in_training_is_no_collapse() -> None:
    """Measured: the recall of the default is 0.03 and its coverage 0.14 after 900 steps, and both still rise."""
    spec = spec_with(total_steps=900, evaluation={"every_steps": 150})
    health = HealthMonitor(spec, INFO)
    for step, fcd, precision, recall, coverage in (
        (150, 10.07, 0.46, 0.000, 0.021),
        (300, 7.20, 0.60, 0.002, 0.068),
        (450, 6.35, 0.71, 0.003, 0.081),
        (600, 4.77, 0.82, 0.027, 0.135),
        (750, 4.56, 0.82, 0.021, 0.143),
        (900, 4.93, 0.73, 0.034, 0.140),
    ):
        figures = {"fcd": fcd, "precision": precision, "recall": recall, "coverage": coverage}
        assert health.add_evaluation(SimulatedRun(evaluation=figures, from_step=1).evaluation_at(step)) == []


def test_a_margin_of_zero_is_healthy_if_d_depends_on_the_label() -> None:
    """Measured at the equilibrium: it varies between -0.3 and 0.5 while the label accuracy is 0.85."""
    assert found(SimulatedRun(probe={"conditioning_margin": -0.3, "conditioning_swing": 0.7})) == []


def test_g_may_dominate_while_quality_improves() -> None:
    """The losses alone are no evidence: D may also be weak because the images are good."""
    row = FAILING["G dominates"][1].row
    assert "generator_dominates" not in codes(found(SimulatedRun(row, from_step=1), until=6_000))
    spec = spec_with(evaluation={"enabled": False})
    assert codes(found(SimulatedRun(row), spec)) == {"generator_dominates"}


def test_classes_are_not_checked_after_a_total_collapse_or_in_unrecognisable_images() -> None:
    alike = SimulatedRun(
        probe={"diversity": 0.1, "class_diversity": dict.fromkeys(LABELS, 0.1)},
        tables={"class_histogram": {**EVENLY, "Bag": 0.0}},
    )
    assert codes(found(alike)) == {"mode_collapse"}
    # If most classes are affected, it is not a problem of single classes.
    most = {**EVENLY, **dict.fromkeys(LABELS[:6], 0.0)}
    assert found(SimulatedRun(tables={"class_histogram": most}), until=FAILS_AT + 3_000) == []
    assert found(SimulatedRun(probe={"diversity": 0.25, "class_diversity": dict.fromkeys(LABELS, 0.25)})) == []
    noise = SimulatedRun(probe=FAILING["identical images of a class"][1].probe, evaluation={"precision": 0.2})
    assert found(noise, until=FAILS_AT + 3_000) == []
    guessed = FAILING["uninformative labels"][1]
    run = replace(guessed, tables={**guessed.tables, "class_histogram": {**EVENLY, "Bag": 0.0}})
    assert codes(found(run)) == {"conditioning_ignored"}


def test_a_class_with_few_expected_images_is_not_reported() -> None:
    run = FAILING["a missing class"][1]
    assert found(run, spec_with(evaluation={"every_steps": 1_000, "images": 150})) == []


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("low loss of D", {"vanishing_d_loss": 0.01}),
        ("vanished gradient of G", {"vanishing_d_loss": 0.0, "vanishing_gradient": 1e-5}),
        ("G dominates", {"dominates_d_accuracy": 0.1}),
        ("G dominates", {"dominates_opinion": 0.99}),
        ("identical images", {"collapse_diversity": 0.01, "class_diversity": 0.01}),
        ("duplicates in the grid", {"collapse_duplicates": 0.8}),
        ("low coverage", {"collapse_coverage": 0.2}),
        ("low coverage", {"collapse_precision": 0.98}),
        ("low recall", {"collapse_recall": 0.01}),
        ("low recall", {"late_share": 1.0}),
        ("identical images in an evaluation", {"collapse_diversity": 0.05}),
        ("identical images of a class", {"class_diversity": 0.05}),
        ("a missing class", {"class_share": 0.05}),
        ("a missing class", {"class_images": 500}),
        ("D ignores labels", {"conditioning_margin": -1.0}),
        ("D ignores labels", {"conditioning_swing": 0.0}),
        ("G ignores labels", {"conditioning_accuracy": 0.01}),
        ("uninformative labels", {"conditioning_labels": 0.0}),
        ("equilibrium", {"evaluations": 20}),
        ("equilibrium", {"equilibrium_accuracy": 0.0}),
        ("equilibrium", {"healthy_precision": 1.0}),
        ("past the best", {"past_best_warning": 2.0, "past_best_critical": 2.0}),
        ("past the best", {"evaluations": 20}),
        ("nothing learned", {"never_learned_distance": 1.0}),
        ("large gradients", {"divergence_gradient": 1_000.0}),
        ("large gradients", {"divergence_steps": 10_000, "window_steps": 20_000, "window_share": 1.0}),
        ("large loss of D", {"divergence_loss": 50.0}),
        ("D overfits", {"overfitting_gap": 0.6}),
        ("D overfits", {"overfitting_probes": 100}),
        ("low recall", {"warm_up_share": 0.9, "warm_up_most": 0.9}),
    ],
)
def test_the_thresholds_of_the_spec_apply(name: str, limits: dict[str, Any]) -> None:
    assert found(FAILING[name][1], spec_with(safeguards={"thresholds": limits})) == []


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("least_squares", {"loss_d": 0.01, "real_logit": 0.9, "fake_logit": 0.1}),
        ("hinge", {"loss_d": 0.05, "real_logit": 1.5, "fake_logit": -1.5}),
        ("relativistic", {"loss_d": 0.05, "real_logit": 3.0, "fake_logit": -3.0}),
    ],
)
def test_vanishing_gradients_uses_the_scale_of_each_loss(kind: str, row: dict[str, float]) -> None:
    spec = spec_with(loss={"kind": kind})
    assert codes(found(SimulatedRun({**row, "d_accuracy": 0.97}), spec)) == {"vanishing_gradients"}
    lost = {"least_squares": 0.1, "hinge": 0.8, "relativistic": 0.4}[kind]
    assert found(SimulatedRun({**row, "loss_d": lost, "d_accuracy": 0.8}), spec) == []


def test_a_critic_dominates_by_the_gradient_of_g_alone() -> None:
    spec = spec_with(loss={"kind": "wasserstein"}, stabilizers={"weight_clip": 0.01})
    assert found(SimulatedRun({"loss_d": -0.05, "d_accuracy": 0.8}), spec) == []
    run = SimulatedRun({"loss_d": -9.0, "d_accuracy": 1.2, "grad_norm_g": 0.01})
    (finding,) = [f for f in found(run, spec) if f.code == "vanishing_gradients"]
    assert finding.severity == "critical"


@pytest.mark.parametrize(
    ("kind", "real", "fake"),
    [("minimax", 0.0, 3.0), ("hinge", 0.0, 1.0), ("least_squares", 0.5, 1.0), ("wasserstein", 1.0, 2.0),
     ("relativistic", -2.0, 2.0)],
)  # fmt: skip
def test_generator_dominates_uses_the_scale_of_each_loss(kind: str, real: float, fake: float) -> None:
    changes: dict[str, Any] = {"stabilizers": {"weight_clip": 0.01}} if kind == "wasserstein" else {}
    spec = spec_with(loss={"kind": kind}, **changes)
    row = {"d_accuracy": 0.3, "real_logit": real, "fake_logit": fake}
    assert "generator_dominates" in codes(found(SimulatedRun(row), spec))
    assert "generator_dominates" not in codes(found(SimulatedRun({**row, "fake_logit": min(0.0, real - 1)}), spec))


def test_a_loss_that_grows_tenfold_but_stays_below_chance_is_no_divergence() -> None:
    spec = spec_with(safeguards={"thresholds": {"vanishing_d_loss": 0.0}})
    nearly_right = {"loss_d": 0.05, "d_accuracy": 0.97}
    health = HealthMonitor(spec, INFO)
    assert list(feed(health, spec, SimulatedRun(nearly_right, from_step=1), until=FAILS_AT)) == []
    assert (
        list(feed(health, spec, SimulatedRun({"loss_d": 0.9}, from_step=1), after=FAILS_AT, until=FAILS_AT + 1_000))
        == []
    )
    (finding,) = feed(
        health, spec, SimulatedRun({"loss_d": 2.0}, from_step=1), after=FAILS_AT + 1_000, until=FAILS_AT + 1_500
    )
    assert finding.code == "divergence"


def test_a_d_that_is_wrong_from_the_start_is_divergence() -> None:
    """Measured without BatchNorm at a learning rate of 0.05: D's loss is 30 to 200, and its gradients fall."""
    wrong = {"loss_d": 30.0, "d_accuracy": 0.78, "real_logit": 110.0, "fake_logit": -52.0}
    assert codes(found(SimulatedRun(wrong, from_step=1))) == {"divergence"}
    assert codes(found(SimulatedRun({**wrong, "loss_d": 8.0}, from_step=1))) == set()


def test_past_best_does_not_compare_values_close_to_those_of_real_images() -> None:
    """Twice the best FCD is a finding, except where both values are close to the FCD of real images."""
    twice = SimulatedRun(evaluation={"fcd": 2 * GOOD["fcd"]})
    assert codes(found(twice)) == {"past_best"}
    perfect = replace(twice, tables={"reference": {**REALS, "fcd": GOOD["fcd"]}})
    assert codes(found(perfect)) == set()
    strict = spec_with(safeguards={"thresholds": {"past_best_reals": 1.0}})
    assert codes(found(perfect, strict)) == {"past_best"}


def test_short_jobs_get_a_verdict_and_findings() -> None:
    spec = spec_with(total_steps=900, evaluation={"every_steps": 300})
    healthy = HealthMonitor(spec, INFO)
    assert list(feed(healthy, spec, replace(HEALTHY, from_step=10_000), until=200)) == []
    verdicts = [healthy.verdict]
    list(feed(healthy, spec, HEALTHY, after=200))
    assert [*verdicts, healthy.verdict] == ["unknown", "healthy"]
    for name in ("low loss of D", "identical images", "uninformative labels", "nothing learned", "a missing class"):
        code, run = FAILING[name]
        assert code in codes(found(replace(run, from_step=1), spec, until=900))


def test_the_warm_up_finds_only_non_finite() -> None:
    spec = spec_with(safeguards={"thresholds": {"warm_up_share": 1.0, "warm_up_most": 1.0}})
    for name, (code, run) in FAILING.items():
        expected = {"non_finite"} if code == "non_finite" else set()
        assert codes(found(replace(run, from_step=1), spec, until=5_000)) == expected, name


@pytest.mark.parametrize("unit", ["odd_even", "epoch"])
def test_a_network_without_an_update_is_no_evidence(unit: str) -> None:
    """One network is updated at a time: the other's gradient norm is 0, and a D that is updated alone always wins."""
    spec = spec_with(alternation={"unit": unit})
    health = HealthMonitor(spec, INFO)
    run = SimulatedRun({"grad_norm_d": 500.0})
    for first in range(1, 16_000, 100):
        rows = run.rows(first, first + 99)
        for i, step in enumerate(range(first, first + 100)):
            d_moves = step % 2 == 1 if unit == "odd_even" else (step - 1) % 1_876 < 938
            if d_moves:
                rows[i, -1], rows[i, 0], rows[i, 1] = 0.0, 0.01, 1.0
            else:
                rows[i, NAMES.index("grad_norm_d")] = 0.0
        health.add_losses(first, NAMES, rows)
    assert [f.code for f in health.findings] == ["divergence"]
