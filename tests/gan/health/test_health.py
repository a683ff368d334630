"""Findings over time: when they begin and end, which action they demand, and the state of a resumed run."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from gan.findings import HealthFinding
from gan.health import HealthMonitor
from gan.quality.evaluate import EvaluationResult
from gan.spec import TrainSpec
from tests.gan.health.streams import (
    EVENLY,
    FAILING,
    FAILS_AT,
    HEALTHY,
    INFO,
    LABELS,
    NAMES,
    SimulatedRun,
    evaluation,
    feed,
    probe,
    spec_with,
)

COLLAPSED = FAILING["identical images"][1].probe


def severities(health: HealthMonitor) -> list[tuple[str, str]]:
    """Return the code and severity of each finding."""
    return [(finding.code, finding.severity) for finding in health.findings]


def action(health: HealthMonitor) -> str:
    """Return the kind of action that `health` demands."""
    return health.action.kind


def stops(**changes: object) -> TrainSpec:
    """Return a spec with the policy stop_and_keep_best."""
    return spec_with(safeguards={"policy": "stop_and_keep_best", **changes})


def rolls_back() -> TrainSpec:
    """Return a spec with the policy roll_back."""
    return spec_with(safeguards={"policy": "roll_back"})


def not_finite(health: HealthMonitor, first: int, rows: int, bad: int) -> list[HealthFinding]:
    """Add `rows` steps from `first` on, of which the first `bad` are NaN. Return the new findings."""
    values = HEALTHY.rows(first, first + rows - 1)
    values[:bad, 0] = np.nan
    return health.add_losses(first, NAMES, values)


def test_a_finding_is_raised_once_and_holds_while_its_rule_does() -> None:
    health = HealthMonitor(spec_with(), INFO)
    (raised,) = health.add_probe(probe(5_000, **COLLAPSED))
    assert (raised.severity, raised.began_at_step, raised.found_at_step) == ("critical", 5_000, 5_000)
    for step in range(5_500, 9_000, 500):
        assert health.add_probe(probe(step, **COLLAPSED)) == []
        assert health.findings == (raised,)
        assert health.verdict == "failing"


def test_a_finding_ends_after_three_quiet_checks_in_a_row() -> None:
    health = HealthMonitor(spec_with(), INFO)
    health.add_evaluation(evaluation(5_000))
    health.add_probe(probe(5_000, **COLLAPSED))
    for step, collapsed in ((5_500, False), (6_000, False), (6_500, True), (7_000, False), (7_500, False)):
        health.add_probe(probe(step, **(COLLAPSED if collapsed else {})))
        assert severities(health) == [("mode_collapse", "critical")]
    health.add_probe(probe(8_000))
    assert health.findings == ()
    assert health.verdict == "healthy"
    (again,) = health.add_probe(probe(8_500, **COLLAPSED))
    assert again.began_at_step == 8_500


def test_the_spec_sets_the_number_of_quiet_checks() -> None:
    health = HealthMonitor(spec_with(safeguards={"thresholds": {"quiet_looks": 1}}), INFO)
    health.add_probe(probe(5_000, **COLLAPSED))
    health.add_probe(probe(5_500))
    assert health.findings == ()


def test_a_class_collapse_needs_two_probes_in_a_row() -> None:
    alike = FAILING["identical images of a class"][1].probe
    health = HealthMonitor(spec_with(), INFO)
    assert health.add_probe(probe(5_000, **alike)) == []
    assert health.add_probe(probe(5_500)) == []
    assert health.add_probe(probe(6_000, **alike)) == []
    (finding,) = health.add_probe(probe(6_500, **alike))
    assert (finding.code, finding.began_at_step) == ("class_collapse", 6_000)


def early_evaluation(step: int, level: float, accuracy: float, sandals: float) -> EvaluationResult:
    """Return the evaluation of a generator early in training: all classes have a diversity of `level`.

    `accuracy` is its label accuracy, `sandals` the share of its images that look like sandals.
    """
    return replace(
        evaluation(step, diversity=level, label_accuracy=accuracy, fcd=60.0 if step == 0 else 10.0),
        within_class_diversity=dict.fromkeys(LABELS, level),
        class_histogram={**EVENLY, "Sandal": sandals},
    )


def test_low_values_that_grow_are_no_symptom() -> None:
    """Measured at a learning rate of 1e-4 after 300, 600 and 900 steps.

    The diversity was 0.15, 0.19 and 0.45, the label accuracy 0.14, 0.66 and 0.68.
    """
    health = HealthMonitor(spec_with(total_steps=900), INFO)
    health.add_evaluation(early_evaluation(0, 0.006, 0.1, 0.0))
    for step, level, accuracy, sandals in ((300, 0.15, 0.14, 0.01), (600, 0.19, 0.40, 0.015), (900, 0.45, 0.68, 0.1)):
        assert health.add_probe(probe(step, diversity=level, class_diversity=dict.fromkeys(LABELS, level))) == []
        assert health.add_evaluation(early_evaluation(step, level, accuracy, sandals)) == []


def test_low_values_that_do_not_grow_are_a_symptom() -> None:
    health = HealthMonitor(spec_with(total_steps=900), INFO)
    health.add_evaluation(early_evaluation(0, 0.006, 0.1, 0.0))
    for step, level, accuracy, sandals in ((300, 0.25, 0.3, 0.01), (600, 0.4, 0.31, 0.011)):
        assert health.add_evaluation(early_evaluation(step, level, accuracy, sandals)) == []
    found = health.add_evaluation(early_evaluation(900, 0.4, 0.31, 0.011))
    assert {(finding.code, finding.began_at_step) for finding in found} == {
        ("conditioning_ignored", 600),
        ("class_collapse", 600),
    }
    total = HealthMonitor(spec_with(total_steps=900), INFO)
    total.add_evaluation(early_evaluation(0, 0.006, 0.1, 0.1))
    assert total.add_evaluation(early_evaluation(300, 0.15, 0.9, 0.1)) == []
    (finding,) = total.add_evaluation(early_evaluation(600, 0.16, 0.9, 0.1))
    assert finding.code == "mode_collapse"


def test_very_low_diversity_is_a_collapse_even_if_it_grows() -> None:
    """Measured with a z of length 1: a diversity of 0.013 after 300 steps and of 0.018 after 600."""
    health = HealthMonitor(spec_with(total_steps=900), INFO)
    health.add_evaluation(early_evaluation(0, 0.003, 0.1, 0.1))
    (finding,) = health.add_probe(probe(300, diversity=0.013, class_diversity={}))
    assert (finding.code, finding.severity) == ("mode_collapse", "critical")


def test_a_worse_finding_is_raised_again_and_a_milder_one_is_not() -> None:
    health = HealthMonitor(spec_with(), INFO)
    raised = [f for step in range(2_000, 8_000, 1_000) for f in health.add_evaluation(evaluation(step, fcd=4.0))]
    assert raised == []
    (warning,) = health.add_evaluation(evaluation(8_000, fcd=5.1))
    (critical,) = health.add_evaluation(evaluation(9_000, fcd=6.1))
    assert (warning.severity, critical.severity) == ("warning", "critical")
    assert warning.began_at_step == critical.began_at_step == 2_000
    assert severities(health) == [("past_best", "critical")]
    for step in (10_000, 11_000, 12_000):
        assert health.add_evaluation(evaluation(step, fcd=5.1)) == []
    assert severities(health) == [("past_best", "warning")]


def test_never_learned_ends_at_the_first_improvement() -> None:
    health = HealthMonitor(spec_with(), INFO)
    for step in range(0, 9_000, 1_000):
        health.add_evaluation(evaluation(step, fcd=60.0, precision=0.0, coverage=0.0))
    assert severities(health) == [("never_learned", "critical")]
    health.add_evaluation(evaluation(9_000, fcd=6.0))
    assert health.findings == ()


def test_the_best_is_the_lowest_fcd_with_enough_coverage() -> None:
    health = HealthMonitor(spec_with(), INFO)
    health.add_evaluation(evaluation(0, fcd=0.1, coverage=0.0))
    assert health.best is None
    best: list[int] = []
    for step, fcd, coverage in ((1_000, 9.0, 0.2), (2_000, 0.5, 0.19), (3_000, 5.0, 0.6), (4_000, 0.15, 0.29),
                                (5_000, 4.0, 0.5), (6_000, 4.5, 0.7)):  # fmt: skip
        health.add_evaluation(evaluation(step, fcd=fcd, coverage=coverage))
        assert health.best is not None
        best.append(health.best.step)
    # At step 3,000 the best so far turns out to have had a low coverage.
    assert best == [1_000, 2_000, 3_000, 3_000, 5_000, 5_000]


def test_the_policy_warn_demands_no_action() -> None:
    health = HealthMonitor(spec_with(), INFO)
    list(feed(health, spec_with(), FAILING["nothing learned"][1]))
    assert health.verdict == "failing"
    assert action(health) == "none"


def test_stop_and_keep_best_stops_at_a_critical_finding_once_there_is_a_best() -> None:
    health = HealthMonitor(stops(), INFO)
    (finding,) = health.add_probe(probe(5_000, **COLLAPSED))
    assert action(health) == "none"
    health.add_evaluation(evaluation(5_000))
    assert (action(health), health.action.step, health.action.why) == ("stop", 5_000, finding.message)


def test_a_warning_does_not_stop_the_run() -> None:
    health = HealthMonitor(stops(), INFO)
    list(feed(health, stops(), FAILING["low loss of D"][1], until=15_000))
    assert health.verdict == "warning"
    assert action(health) == "none"


def test_past_best_stops_at_one_and_a_half_times_the_best_fcd() -> None:
    health = HealthMonitor(stops(), INFO)
    for step in range(2_000, 8_000, 1_000):
        health.add_evaluation(evaluation(step, fcd=4.0))
    health.add_evaluation(evaluation(8_000, fcd=5.9))
    assert action(health) == "none"
    health.add_evaluation(evaluation(9_000, fcd=6.1))
    assert action(health) == "stop"


def test_at_most_two_roll_backs_are_demanded() -> None:
    health = HealthMonitor(rolls_back(), INFO)
    for step in (5_000, 6_000):
        health.add_probe(probe(step, **COLLAPSED))
        assert action(health) == "roll_back"
        health.add_roll_back(step)
        assert action(health) == "none"
        assert health.findings == ()
    health.add_probe(probe(7_000, **COLLAPSED))
    assert health.verdict == "failing"
    assert action(health) == "none"


def test_no_roll_back_for_findings_that_older_weights_do_not_cure() -> None:
    health = HealthMonitor(rolls_back(), INFO)
    list(feed(health, rolls_back(), FAILING["uninformative labels"][1], until=12_000))
    assert health.verdict == "failing"
    assert action(health) == "none"


def test_a_roll_back_clears_the_windows() -> None:
    spec, (_, run) = rolls_back(), FAILING["large gradients"]
    health = HealthMonitor(spec, INFO)
    list(feed(health, spec, run, until=FAILS_AT + 200))
    assert action(health) == "roll_back"
    health.add_roll_back(FAILS_AT + 200)
    # The roll back with half the learning rate has helped.
    assert list(feed(health, spec, HEALTHY, after=FAILS_AT + 200, until=16_000)) == []
    assert health.verdict == "healthy"


def test_after_a_roll_back_a_window_must_be_full_again() -> None:
    spec, (_, run) = rolls_back(), FAILING["low loss of D"]
    health = HealthMonitor(spec, INFO)
    health.add_losses(1, NAMES, HEALTHY.rows(1, 9_000))
    health.add_roll_back(9_000)
    assert list(feed(health, spec, run, after=9_000, until=12_900)) == []
    (finding,) = feed(health, spec, run, after=12_900, until=13_100)
    assert finding.code == "vanishing_gradients"


def test_after_a_roll_back_there_are_five_evaluations_to_reach_a_new_best() -> None:
    health = HealthMonitor(rolls_back(), INFO)
    for step in range(2_000, 8_000, 1_000):
        health.add_evaluation(evaluation(step, fcd=4.0))
    (finding,) = health.add_evaluation(evaluation(8_000, fcd=6.1))
    assert (finding.code, action(health)) == ("past_best", "roll_back")
    health.add_roll_back(8_000)
    for step in range(9_000, 13_000, 1_000):
        assert health.add_evaluation(evaluation(step, fcd=6.1)) == []
    (again,) = health.add_evaluation(evaluation(13_000, fcd=6.1))
    assert again.code == "past_best"


@pytest.mark.parametrize("policy", ["warn", "stop_and_keep_best", "roll_back"])
def test_every_policy_rolls_back_updates_that_are_not_finite(policy: str) -> None:
    health = HealthMonitor(spec_with(safeguards={"policy": policy}), INFO)
    (finding,) = not_finite(health, 1, 100, bad=2)
    assert (finding.code, finding.severity, finding.began_at_step) == ("non_finite", "warning", 1)
    assert action(health) == "none"
    not_finite(health, 101, 100, bad=3)
    assert (action(health), health.action.step) == ("roll_back", 101)
    health.add_roll_back(200)
    assert action(health) == "none"


def test_the_run_fails_in_place_of_a_third_roll_back() -> None:
    health = HealthMonitor(spec_with(), INFO)
    for first in (1, 101):
        not_finite(health, first, 100, bad=3)
        assert action(health) == "roll_back"
        health.add_roll_back(first + 99)
    (finding,) = not_finite(health, 201, 100, bad=3)
    assert finding.severity == "critical"
    assert (action(health), health.action.why) == ("fail", finding.message)


def test_three_bad_updates_count_together_only_within_100_steps() -> None:
    health = HealthMonitor(spec_with(), INFO)
    for first in (1, 101, 201, 301):
        not_finite(health, first, 100, bad=1)
        assert action(health) == "none"
    near = HealthMonitor(spec_with(safeguards={"every_steps": 20}), INFO)
    for first in (1, 21, 41):
        not_finite(near, first, 20, bad=1)
    assert action(near) == "roll_back"


@pytest.mark.parametrize("name", FAILING)
def test_a_resumed_run_has_the_same_findings_and_state(name: str) -> None:
    spec, (_, run) = spec_with(total_steps=8_000), FAILING[name]
    run = replace(run, from_step=min(run.from_step, 2_000))
    straight, resumed = HealthMonitor(spec, INFO), HealthMonitor(spec, INFO)
    expected = list(feed(straight, spec, run))
    found: list[HealthFinding] = []
    for after, until in ((0, 1_300), (1_300, 2_500), (2_500, 4_900), (4_900, 8_000)):
        state = json.loads(json.dumps(resumed.state(), allow_nan=False))
        resumed = HealthMonitor(spec, INFO)
        resumed.load(state)
        assert resumed.state() == state
        found += feed(resumed, spec, run, after=after, until=until)
    assert found == expected
    assert resumed.state() == straight.state()
    assert (resumed.findings, resumed.verdict, resumed.best) == (straight.findings, straight.verdict, straight.best)


@pytest.mark.parametrize("every", [1, 7, 250, 3_000])
def test_the_curves_do_not_depend_on_the_number_of_rows_per_call(every: int) -> None:
    spec, (_, run) = spec_with(total_steps=6_000), FAILING["large gradients"]
    many_calls, one_call = HealthMonitor(spec, INFO), HealthMonitor(spec, INFO)
    for first in range(1, 3_001, every):
        many_calls.add_losses(first, NAMES, run.rows(first, min(3_000, first + every - 1)))
    one_call.add_losses(1, NAMES, run.rows(1, 3_000))
    assert many_calls.state()["curves"] == one_call.state()["curves"]


@pytest.mark.parametrize("total_steps", [900, 1_000_000])
def test_the_size_of_the_state_is_bounded(total_steps: int) -> None:
    spec = spec_with(total_steps, evaluation={"every_steps": 1_000})
    health = HealthMonitor(spec, INFO)
    run = replace(FAILING["not finite"][1], from_step=1)
    for first in range(1, 30_001, 100):
        health.add_losses(first, NAMES, HEALTHY.rows(first, first + 99))
    health.add_losses(30_001, NAMES, run.rows(30_001, 31_000))
    assert len(json.dumps(health.state())) < 30_000


def test_a_check_costs_little_compared_with_the_steps() -> None:
    """2 % of 100 steps of 60 ms are 120 ms; a check takes about 1 ms. The bound allows for a busy machine."""
    spec = spec_with()
    health = HealthMonitor(spec, INFO)
    rows = [(first, HEALTHY.rows(first, first + 99)) for first in range(1, 10_001, 100)]
    start = time.process_time()
    for first, values in rows:
        health.add_losses(first, NAMES, values)
    assert (time.process_time() - start) / len(rows) < 0.02


def test_data_without_labels_are_checked_too() -> None:
    spec = spec_with(conditioning={"kind": "none"})
    info = INFO.model_copy(update={"classes": ()})
    health = HealthMonitor(spec, info)
    plain = SimulatedRun(
        probe={
            "class_diversity": {},
            "conditioning_margin": None,
            "conditioning_swing": None,
            "overfitting_gap": None,
        },
        tables={"class_histogram": {}, "real_class_histogram": {}, "within_class_diversity": {}, "reference": {}},
        from_step=1,
    )
    assert list(feed(health, spec, plain)) == []
    (finding,) = health.add_probe(probe(21_000, **{**plain.probe, "diversity": 0.1}))
    assert finding.code == "mode_collapse"
