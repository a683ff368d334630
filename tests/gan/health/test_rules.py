"""Each way to fail gives its own finding, and no other; what goes well gives none."""

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
    Run,
    fed,
    spec_of,
)

UNTIL = 16_000


def found(run: Run, spec: TrainSpec | None = None, until: int = UNTIL) -> list[HealthFinding]:
    spec = spec or spec_of()
    return list(fed(HealthMonitor(spec, INFO), spec, run, until=until))


def codes(findings: list[HealthFinding]) -> set[str]:
    return {finding.code for finding in findings}


def test_a_healthy_run_raises_nothing_in_20k_steps() -> None:
    spec = spec_of()
    health = HealthMonitor(spec, INFO)
    assert list(fed(health, spec, HEALTHY)) == []
    assert health.verdict == "healthy"
    assert health.findings == ()


@pytest.mark.parametrize("name", FAILING)
def test_each_way_to_fail_is_found_by_its_name_and_no_other(name: str) -> None:
    code, run = FAILING[name]
    # What rests on several probes, or on the best, began with the first of them.
    early = {"discriminator_overfitting": 1_500, "past_best": 2_000}.get(code, 100)
    findings = found(run)
    assert codes(findings) == {code}
    for finding in findings:
        assert max(1, run.at - early) <= finding.began_at_step <= finding.found_at_step <= UNTIL
        assert finding.evidence
        assert finding.message.endswith(".")


# Section 4 of the design: what a generator that was good is seen to have become.
TABLE: dict[str, tuple[str | None, Run]] = {
    "real images": (None, Run(evaluation=REALS)),
    "one image a class": (
        "mode_collapse",
        Run(
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
        Run(evaluation={"fcd": 0.15, "precision": 0.94, "recall": 0.02, "coverage": 0.386, "label_accuracy": 0.92}),
    ),
    "a class dropped": (
        "class_collapse",
        Run(
            evaluation={"fcd": 1.18, "precision": 0.95, "recall": 0.95, "coverage": 0.911, "label_accuracy": 0.925},
            tables={"class_histogram": {**dict.fromkeys(LABELS, 1 / 9), "Sandal": 0.0}},
        ),
    ),
    "labels shuffled": (
        "conditioning_ignored",
        Run(evaluation={"fcd": 0.009, "precision": 0.95, "recall": 0.95, "coverage": 0.968, "label_accuracy": 0.097}),
    ),
    "blurred": (
        "past_best",
        Run(evaluation={"fcd": 10.2, "precision": 0.54, "recall": 0.03, "coverage": 0.09, "label_accuracy": 0.78}),
    ),
    "noise": (
        "past_best",
        Run(evaluation=NOISE, tables={"class_histogram": {**dict.fromkeys(LABELS, 0.0), "Bag": 1.0}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_every_row_of_the_designs_table_trips_its_own_detector(name: str) -> None:
    expected, run = TABLE[name]
    # Five evaluations without a new best make past_best, of whatever kind the failure is.
    until = UNTIL if expected in (None, "past_best") else FAILS_AT + 2_000
    assert codes(found(run, until=until)) == ({expected} if expected else set())


def test_what_never_was_good_is_found_too() -> None:
    from_the_start = {name: replace(run, at=1) for name, (_, run) in TABLE.items()}
    assert codes(found(from_the_start["one image a class"])) == {"mode_collapse"}
    assert codes(found(from_the_start["50 images a class"])) == {"mode_collapse"}
    assert codes(found(from_the_start["a class dropped"])) == {"class_collapse"}
    assert codes(found(from_the_start["labels shuffled"])) == {"conditioning_ignored"}
    assert codes(found(from_the_start["noise"])) == {"never_learned"}
    assert codes(found(from_the_start["real images"])) == set()


def test_a_young_generator_covers_little_and_is_not_collapsed() -> None:
    """Measured: the default's recall is 0.03 and its coverage 0.14 after 900 steps, and both still rise."""
    spec = spec_of(total_steps=900, evaluation={"every_steps": 150})
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
        assert health.add_evaluation(Run(evaluation=figures, at=1).evaluated(step)) == []


def test_a_margin_of_zero_in_a_d_that_hears_the_label_is_healthy() -> None:
    """Measured: at the balance it wavers between -0.3 and 0.5 while label accuracy is 0.85."""
    assert found(Run(probe={"conditioning_margin": -0.3, "conditioning_swing": 0.7})) == []


def test_g_may_win_while_quality_improves() -> None:
    """Never on the losses alone: what a weak D says of good images is no evidence."""
    row = FAILING["D sees nothing"][1].row
    assert "generator_dominates" not in codes(found(Run(row, at=1), until=6_000))
    spec = spec_of(evaluation={"enabled": False})
    assert codes(found(Run(row), spec)) == {"generator_dominates"}


def test_classes_are_not_looked_for_where_all_have_collapsed_or_nothing_can_be_seen() -> None:
    alike = Run(
        probe={"diversity": 0.1, "class_diversity": dict.fromkeys(LABELS, 0.1)},
        tables={"class_histogram": {**EVENLY, "Bag": 0.0}},
    )
    assert codes(found(alike)) == {"mode_collapse"}
    # What most classes have in common is no class's own.
    most = {**EVENLY, **dict.fromkeys(LABELS[:6], 0.0)}
    assert found(Run(tables={"class_histogram": most}), until=FAILS_AT + 3_000) == []
    assert found(Run(probe={"diversity": 0.25, "class_diversity": dict.fromkeys(LABELS, 0.25)})) == []
    noise = Run(probe=FAILING["a class alike"][1].probe, evaluation={"precision": 0.2})
    assert found(noise, until=FAILS_AT + 3_000) == []
    guessed = FAILING["labels say nothing"][1]
    run = replace(guessed, tables={**guessed.tables, "class_histogram": {**EVENLY, "Bag": 0.0}})
    assert codes(found(run)) == {"conditioning_ignored"}


def test_few_images_of_a_class_do_not_make_it_lost() -> None:
    run = FAILING["a class lost"][1]
    assert found(run, spec_of(evaluation={"every_steps": 1_000, "images": 150})) == []


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("D wins by loss", {"vanishing_d_loss": 0.01}),
        ("G's gradient is gone", {"vanishing_d_loss": 0.0, "vanishing_gradient": 1e-5}),
        ("D sees nothing", {"dominates_d_accuracy": 0.1}),
        ("D sees nothing", {"dominates_opinion": 0.99}),
        ("all images alike", {"collapse_diversity": 0.01, "class_diversity": 0.01}),
        ("a grid of duplicates", {"collapse_duplicates": 0.8}),
        ("coverage lost", {"collapse_coverage": 0.2}),
        ("coverage lost", {"collapse_precision": 0.95}),
        ("recall lost", {"collapse_recall": 0.01}),
        ("recall lost", {"late_share": 1.0}),
        ("images alike when evaluated", {"collapse_diversity": 0.05}),
        ("a class alike", {"class_diversity": 0.05}),
        ("a class lost", {"class_share": 0.05}),
        ("a class lost", {"class_images": 500}),
        ("D deaf to labels", {"conditioning_margin": -1.0}),
        ("D deaf to labels", {"conditioning_swing": 0.0}),
        ("labels ignored", {"conditioning_accuracy": 0.05}),
        ("labels say nothing", {"conditioning_chance": 1.0}),
        ("a coin", {"evaluations": 20}),
        ("a coin", {"equilibrium_accuracy": 0.0}),
        ("the best is past", {"past_best_warning": 2.0, "past_best_critical": 2.0}),
        ("the best is past", {"evaluations": 20}),
        ("nothing learned", {"never_learned_distance": 1.0}),
        ("steep", {"divergence_gradient": 1_000.0}),
        ("steep", {"divergence_steps": 10_000, "window_steps": 20_000, "window_share": 1.0}),
        ("D's loss leaves", {"divergence_loss": 50.0}),
        ("D knows by heart", {"overfitting_gap": 0.6}),
        ("D knows by heart", {"overfitting_probes": 100}),
        ("recall lost", {"warm_up_share": 0.9, "warm_up_most": 0.9}),
    ],
)
def test_thresholds_of_the_spec_are_what_counts(name: str, limits: dict[str, Any]) -> None:
    assert found(FAILING[name][1], spec_of(safeguards={"thresholds": limits})) == []


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("least_squares", {"loss_d": 0.01, "real_logit": 0.9, "fake_logit": 0.1}),
        ("hinge", {"loss_d": 0.05, "real_logit": 1.5, "fake_logit": -1.5}),
        ("relativistic", {"loss_d": 0.05, "real_logit": 3.0, "fake_logit": -3.0}),
    ],
)
def test_d_wins_in_each_games_own_scale(kind: str, row: dict[str, float]) -> None:
    spec = spec_of(loss={"kind": kind})
    assert codes(found(Run({**row, "d_accuracy": 0.97}), spec)) == {"vanishing_gradients"}
    lost = {"least_squares": 0.1, "hinge": 0.8, "relativistic": 0.4}[kind]
    assert found(Run({**row, "loss_d": lost, "d_accuracy": 0.8}), spec) == []


def test_a_critic_wins_by_gs_gradient_alone() -> None:
    spec = spec_of(loss={"kind": "wasserstein"}, stabilizers={"weight_clip": 0.01})
    assert found(Run({"loss_d": -0.05, "d_accuracy": 0.8}), spec) == []
    run = Run({"loss_d": -9.0, "d_accuracy": 1.2, "grad_norm_g": 0.01})
    (finding,) = [f for f in found(run, spec) if f.code == "vanishing_gradients"]
    assert finding.severity == "critical"


@pytest.mark.parametrize(
    ("kind", "real", "fake"),
    [("minimax", 0.0, 3.0), ("hinge", 0.0, 1.0), ("least_squares", 0.5, 1.0), ("wasserstein", 1.0, 2.0),
     ("relativistic", -2.0, 2.0)],
)  # fmt: skip
def test_g_wins_in_each_games_own_scale(kind: str, real: float, fake: float) -> None:
    changes: dict[str, Any] = {"stabilizers": {"weight_clip": 0.01}} if kind == "wasserstein" else {}
    spec = spec_of(loss={"kind": kind}, **changes)
    row = {"d_accuracy": 0.3, "real_logit": real, "fake_logit": fake}
    assert "generator_dominates" in codes(found(Run(row), spec))
    assert "generator_dominates" not in codes(found(Run({**row, "fake_logit": min(0.0, real - 1)}), spec))


def test_a_loss_that_grows_tenfold_and_is_still_below_a_coins_is_no_divergence() -> None:
    spec = spec_of(safeguards={"thresholds": {"vanishing_d_loss": 0.0}})
    nearly_right = {"loss_d": 0.05, "d_accuracy": 0.97}
    health = HealthMonitor(spec, INFO)
    assert list(fed(health, spec, Run(nearly_right, at=1), until=FAILS_AT)) == []
    assert list(fed(health, spec, Run({"loss_d": 0.9}, at=1), after=FAILS_AT, until=FAILS_AT + 1_000)) == []
    (finding,) = fed(health, spec, Run({"loss_d": 2.0}, at=1), after=FAILS_AT + 1_000, until=FAILS_AT + 1_500)
    assert finding.code == "divergence"


def test_a_d_that_was_sure_and_wrong_from_the_start_is_divergence() -> None:
    """Measured: without BatchNorm and at a learning rate of 0.05, D's loss is 30 to 200 and its gradients fall."""
    wrong = {"loss_d": 30.0, "d_accuracy": 0.78, "real_logit": 110.0, "fake_logit": -52.0}
    assert codes(found(Run(wrong, at=1))) == {"divergence"}
    assert codes(found(Run({**wrong, "loss_d": 8.0}, at=1))) == set()


def test_nobody_is_past_a_best_that_is_as_good_as_real() -> None:
    """Twice the best is past it; of two figures that are both nearly those of real images it is chance."""
    twice = Run(evaluation={"fcd": 2 * GOOD["fcd"]})
    assert codes(found(twice)) == {"past_best"}
    perfect = replace(twice, tables={"reference": {**REALS, "fcd": GOOD["fcd"]}})
    assert codes(found(perfect)) == set()
    strict = spec_of(safeguards={"thresholds": {"past_best_reals": 1.0}})
    assert codes(found(perfect, strict)) == {"past_best"}


def test_short_demo_jobs_get_a_verdict_and_their_findings() -> None:
    spec = spec_of(total_steps=900, evaluation={"every_steps": 300})
    healthy = HealthMonitor(spec, INFO)
    assert list(fed(healthy, spec, replace(HEALTHY, at=10_000), until=200)) == []
    verdicts = [healthy.verdict]
    list(fed(healthy, spec, HEALTHY, after=200))
    assert [*verdicts, healthy.verdict] == ["unknown", "healthy"]
    for name in ("D wins by loss", "all images alike", "labels say nothing", "nothing learned", "a class lost"):
        code, run = FAILING[name]
        assert code in codes(found(replace(run, at=1), spec, until=900))


def test_nothing_but_non_finite_is_found_in_the_warm_up() -> None:
    spec = spec_of(safeguards={"thresholds": {"warm_up_share": 1.0, "warm_up_most": 1.0}})
    for name, (code, run) in FAILING.items():
        expected = {"non_finite"} if code == "non_finite" else set()
        assert codes(found(replace(run, at=1), spec, until=5_000)) == expected, name


@pytest.mark.parametrize("unit", ["odd_even", "epoch"])
def test_an_idle_player_is_no_evidence(unit: str) -> None:
    """Of two players one rests: its gradient norm is 0, and a D that learns alone wins."""
    spec = spec_of(alternation={"unit": unit})
    health = HealthMonitor(spec, INFO)
    run = Run({"grad_norm_d": 500.0})
    for first in range(1, 16_000, 100):
        rows = run.rows(first, first + 99)
        for i, step in enumerate(range(first, first + 100)):
            d_moves = step % 2 == 1 if unit == "odd_even" else (step - 1) % 1_876 < 938
            if d_moves:
                rows[i, -1], rows[i, 0], rows[i, 1] = 0.0, 0.01, 1.0
            else:
                rows[i, 6] = 0.0
        health.add_losses(first, NAMES, rows)
    assert [f.code for f in health.findings] == ["divergence"]
