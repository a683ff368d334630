"""A verdict is healthy on evidence only, and figures are compared with chance and with what real images reach."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gan.findings import HealthSummary
from gan.health import HealthMonitor
from gan.quality.evaluate import EvaluationResult
from gan.spec import TrainSpec, preset_spec
from gan.spec.catalog import DatasetClass, DatasetInfo
from gan.spec.presets import PRESETS
from tests.gan.health.streams import (
    FAILING,
    FAILS_AT,
    INFO,
    NOISE,
    REALS,
    SimulatedRun,
    evaluation,
    feed,
    probe,
    spec_with,
)

# Measured: `wgan-gp` after 27 steps (grey static), and a default job at the end of 600 steps.
STATIC = {"fcd": 44.8, "precision": 0.002, "coverage": 0.001, "recall": 0.0}
WRONG_CLASSES = {"fcd": 9.0, "precision": 0.6, "coverage": 0.06, "recall": 0.01, "label_accuracy": 0.25}


def summary_after(spec: TrainSpec, step: int, metrics: Mapping[str, float]) -> HealthSummary:
    """Return the summary of a run of `spec` that is at `step`, whose only evaluation is there."""
    health = HealthMonitor(spec, INFO)
    health.add_evaluation(evaluation(0, **NOISE))
    health.add_evaluation(evaluation(step, **metrics))
    return health.summary


@pytest.mark.parametrize(
    ("figures", "says", "lacks"),
    [
        (STATIC, "Nothing recognisable yet: 7000 steps", {"precision", "coverage"}),
        ({"coverage": 0.013}, "Only a few kinds of images yet: 7000 steps", {"coverage"}),
        ({"label_accuracy": 0.25}, "Not the classes that were asked for yet: 7000 steps", {"label_accuracy"}),
    ],
)
def test_below_the_evidence_the_verdict_is_unknown_and_says_what_a_person_would_see(
    figures: dict[str, float], says: str, lacks: set[str]
) -> None:
    found = summary_after(spec_with(), 7_000, {"fcd": 8.0, **figures})
    assert (found.verdict, found.reason) == ("unknown", "still_learning")
    assert found.message.startswith(says)
    assert {evidence.metric for evidence in found.missing} == lacks
    assert all(evidence.value < evidence.threshold for evidence in found.missing)


@pytest.mark.parametrize(
    ("steps", "figures", "says"),
    [
        (27, STATIC, "Nothing recognisable at the end of 27 steps: precision 0.002 where 0.28 is needed"),
        (600, WRONG_CLASSES, "Not the classes that were asked for at the end of 600 steps: label accuracy 0.25"),
    ],
)
def test_at_the_end_of_the_job_it_has_never_learned(steps: int, figures: dict[str, float], says: str) -> None:
    health = HealthMonitor(spec := spec_with(steps), INFO)
    health.add_evaluation(evaluation(0, **NOISE))
    (finding,) = health.add_evaluation(evaluation(spec.total_steps, **figures))
    assert (finding.code, finding.severity, health.verdict) == ("never_learned", "critical", "failing")
    assert finding.message.startswith(says) and health.summary.message == finding.message
    assert finding.evidence and finding.remedy


def test_before_the_first_evaluation_and_without_any_the_verdict_is_unknown() -> None:
    spec = spec_with()
    health = HealthMonitor(spec, INFO)
    list(feed(health, spec, SimulatedRun(), until=900))
    assert health.summary.message == "Not evaluated yet: the first evaluation is at step 1000."
    blind = spec_with(evaluation={"enabled": False})
    unseen = HealthMonitor(blind, INFO)
    list(feed(unseen, blind, SimulatedRun(), until=5_000))
    assert (unseen.verdict, unseen.summary.reason) == ("unknown", "not_measured")


def test_good_images_are_healthy_after_the_warm_up_only() -> None:
    early, later = (summary_after(spec_with(), step, {"fcd": 3.0}) for step in (1_000, 2_000))
    assert (early.verdict, early.reason) == ("unknown", "still_learning")
    assert "the warm-up lasts until step" in early.message
    assert (later.verdict, later.reason, later.missing) == ("healthy", None, ())
    assert (
        later.message
        == "Recognisable images at step 2000: precision 0.92, coverage 0.62, label accuracy 0.85, fcd 3."
    )


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_is_healthy_without_evidence_wherever_it_is_stopped(name: str, share: float) -> None:
    """Its losses look right and no rule has a finding; only its images are nothing."""
    spec = preset_spec(name, "fashion-mnist")
    stopped = max(1, round(share * spec.total_steps))
    run = SimulatedRun(evaluation={**STATIC, "diversity": 0.9}, from_step=1)
    health = HealthMonitor(spec, INFO)
    health.add_evaluation(run.evaluation_at(0))
    for step in range(spec.evaluation.every_steps, stopped + 1, spec.evaluation.every_steps):
        health.add_probe(probe(step))
        health.add_evaluation(run.evaluation_at(step))
        assert health.verdict != "healthy"
    assert (health.verdict, health.summary.reason) in {("unknown", "still_learning"), ("failing", None)}
    # The same job with so few steps has ended there.
    short = spec.model_copy(update={"total_steps": stopped})
    ended = HealthMonitor(short, INFO)
    ended.add_evaluation(run.evaluation_at(0))
    ended.add_evaluation(run.evaluation_at(stopped))
    assert ended.verdict == "failing"


def test_images_that_are_lost_at_the_end_are_told_even_if_the_best_is_not_long_past() -> None:
    health = HealthMonitor(spec_with(10_000), INFO)
    for step in range(1_000, 10_000, 1_000):
        health.add_evaluation(evaluation(step, fcd=10_000 / step))
    (finding,) = health.add_evaluation(evaluation(10_000, fcd=1.2, precision=0.1))
    assert (finding.code, finding.severity) == ("past_best", "warning")
    assert "recognisable and are not any more" in finding.message


def test_message_and_evidence_of_a_standing_finding_are_refreshed() -> None:
    health = HealthMonitor(spec_with(), INFO)
    (raised,) = health.add_probe(probe(5_000, diversity=0.05, class_diversity={}))
    assert health.add_probe(probe(5_500, diversity=0.03, class_diversity={})) == []
    (now,) = health.findings
    assert (now.evidence[0].value, now.found_at_step, now.began_at_step) == (0.03, 5_000, 5_000)
    assert "3%" in now.message and now.message != raised.message and now.remedy == raised.remedy
    assert health.summary.message == now.message


@pytest.mark.parametrize("fall", [0.88, 0.97])
def test_never_learned_is_silent_while_evaluations_keep_improving(fall: float) -> None:
    """Also if each improves by little: three colour runs were failed whose FCD fell from 29.6 to 16.2."""
    health, fcd = HealthMonitor(spec_with(), INFO), 40.0
    health.add_evaluation(evaluation(0, **{**NOISE, "fcd": 40.0}))
    for step in range(1_000, 20_000, 1_000):
        fcd *= fall
        assert health.add_evaluation(evaluation(step, fcd=max(fcd, 16.2), precision=0.1, coverage=0.01)) == [], step
        assert health.verdict == "unknown"
        if fcd < 16.2:
            break


def test_a_warm_up_that_was_cut_short_turns_no_label_critical() -> None:
    """A run of 300 steps shows D 19,200 images, and a full warm-up has 20,000."""
    for steps, severity in ((300, "warning"), (1_200, "critical")):
        health = HealthMonitor(spec_with(steps), INFO)
        for share in (0.4, 0.6, 0.8):
            health.add_evaluation(evaluation(round(share * steps), label_accuracy=0.2, fcd=9 - 5 * share))
        assert [(f.code, f.severity) for f in health.findings] == [("conditioning_ignored", severity)]


def of_classes(*counts: int) -> DatasetInfo:
    """Return a data set with classes of so many images."""
    classes = tuple(DatasetClass(id=i, label=f"c{i}", count=n) for i, n in enumerate(counts))
    return INFO.model_copy(update={"classes": classes, "num_images": sum(counts)})


def measured(
    step: int, info: DatasetInfo, own: float, found: float, on: int = 1_000, **metrics: float
) -> EvaluationResult:
    """Return an evaluation on the classes of `info`.

    The classifier is right about `own` of `on` real images, and about `found` of 2,000 fakes.
    """
    shares = {c.label: c.count / info.num_images for c in info.classes}
    return replace(
        evaluation(step, label_accuracy=found, **metrics),
        class_histogram=shares,
        real_class_histogram=shares,
        within_class_diversity=dict.fromkeys(shares, 0.9),
        reference={**REALS, "label_accuracy": own},
        provenance={"feature_net": {"measured_on": on}, "images": {"fakes": 2_000}},
    )


@pytest.mark.parametrize(
    ("counts", "own", "on", "found", "verdict", "code"),
    [
        pytest.param((3_000, 1_000), 0.97, 400, 0.94, "healthy", None, id="3 to 1"),
        pytest.param((3_000, 1_000), 0.97, 400, 0.63, "failing", "conditioning_ignored", id="3 to 1, ignored"),
        pytest.param((3_000, 1_000), 0.75, 400, 0.63, "failing", "conditioning_ignored", id="3 to 1, shuffled"),
        pytest.param((4_000, 1_000, 1_000), 0.97, 600, 0.95, "healthy", None, id="two thirds in one class"),
        pytest.param((2_000, 20), 0.995, 202, 0.985, "healthy", None, id="100 to 1, one recognised"),
        pytest.param((20_000, 200), 0.99, 2_020, 0.985, "healthy", None, id="100 to 1, none recognised"),
        pytest.param((2_000, 2_000), 0.98, 400, 0.95, "healthy", None, id="two classes"),
        pytest.param((2_000, 2_000), 0.98, 400, 0.5, "failing", "conditioning_ignored", id="two classes, ignored"),
        pytest.param((2_000, 2_000), 0.5, 400, 0.5, "failing", "conditioning_ignored", id="two twin classes"),
        pytest.param((2_000, 2_000, 2_000), 0.667, 600, 0.65, "healthy", None, id="three classes, two of them twins"),
        pytest.param((600, 600, 5), 0.96, 120, 0.95, "healthy", None, id="a class of five images"),
        pytest.param((30, 27), 0.66, 6, 0.5, "healthy", None, id="64 images: nothing can be told of labels"),
        pytest.param((1_000,), 1.0, 100, 1.0, "healthy", None, id="one class"),
    ],
)
def test_label_accuracy_is_read_on_the_way_from_the_largest_class_to_the_classifier(
    counts: Sequence[int], own: float, on: int, found: float, verdict: str, code: str | None
) -> None:
    info = of_classes(*counts)
    health = HealthMonitor(spec_with(), info)
    for step in range(2_000, 12_000, 1_000):
        health.add_evaluation(measured(step, info, own, found, on))
    assert health.verdict == verdict
    assert [finding.code for finding in health.findings] == ([] if code is None else [code])


def test_accuracy_grows_by_a_share_of_its_way_not_by_a_factor() -> None:
    """From 0.76 to 0.80 is a sixth of the way where one class holds three quarters; no factor of 1.2 is possible."""
    info = of_classes(3_000, 1_000)
    health = HealthMonitor(spec_with(), info)
    for step, found in ((7_000, 0.76), (8_000, 0.78), (9_000, 0.80), (10_000, 0.82)):
        assert health.add_evaluation(measured(step, info, 0.98, found)) == []


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_classes_of_few_images_and_twin_classes_are_no_class_collapse(value: float) -> None:
    tiny = of_classes(600, 600, 600, 5)
    twins = of_classes(600, 600, 600, 600)
    for info, name, recognised in ((tiny, "c3", {}), (twins, "c3", {"c2": 0.6, "c3": 0.4})):
        health = HealthMonitor(spec_with(), info)
        for step in range(2_000, 8_000, 1_000):
            one = measured(step, info, 0.8, 0.75)
            histogram = {**one.class_histogram, name: value * one.class_histogram[name] / 2}
            ratios = {**one.within_class_diversity, **({name: value} if info is tiny else {})}
            health.add_evaluation(
                replace(one, class_histogram=histogram, within_class_diversity=ratios, recognised=recognised)
            )
            health.add_probe(probe(step + 1, class_diversity=ratios))
        assert health.findings == ()
    # A class with many images that the classifier recognises is still one.
    health = HealthMonitor(spec_with(), twins)
    for step in range(2_000, 8_000, 1_000):
        one = measured(step, twins, 0.95, 0.9)
        health.add_evaluation(replace(one, class_histogram={**one.class_histogram, "c3": 0.0}))
    assert [finding.code for finding in health.findings] == ["class_collapse"]


def test_constant_images_have_neither_diversity_nor_precision_and_are_no_collapse() -> None:
    """Figures that cannot be computed are absent. Then the FCD decides."""
    spec = spec_with(conditioning={"kind": "none"})
    info = INFO.model_copy(update={"classes": ()})
    health = HealthMonitor(spec, info)
    for step, fcd in ((0, 60.0), (5_000, 30.0), (6_000, 1.0), (7_000, 0.9)):
        one = replace(
            evaluation(step),
            metrics={"fcd": fcd, "kcd": 0.1},
            class_histogram={}, real_class_histogram={}, within_class_diversity={}, reference={},
        )  # fmt: skip
        assert health.add_evaluation(one) == []
        absent: dict[str, Any] = {
            "diversity": None,
            "class_diversity": {},
            "duplicates": None,
            "overfitting_gap": None,
        }
        nothing = {"conditioning_margin": None, "conditioning_swing": None}
        assert health.add_probe(probe(step + 500, **absent, **nothing)) == []
        assert health.verdict == ("unknown" if step < 6_000 else "healthy")
    assert health.best is not None and health.best.step == 7_000


@pytest.mark.parametrize("reference", [{}, {"precision": 0.5, "coverage": 0.4, "recall": 0.3, "fcd": 1.0}])
def test_a_small_colour_set_is_measured_against_what_its_own_images_reach(reference: Mapping[str, float]) -> None:
    """Held-out images of a small set may reach a precision of 0.5 only, or be too few to be measured."""
    spec, info = spec_with(conditioning={"kind": "none"}), of_classes(816)
    health = HealthMonitor(spec, info)
    health.add_evaluation(evaluation(0, **NOISE))
    for step in range(2_000, 14_000, 1_000):
        good = {"precision": 0.33, "coverage": 0.2, "recall": 0.2, "fcd": 16.2}
        health.add_evaluation(replace(evaluation(step, **good), reference=dict(reference)))
    assert health.verdict == "healthy"


def test_equilibrium_stops_the_run_once_quality_has_not_improved_for_five_evaluations() -> None:
    spec = spec_with(safeguards={"policy": "stop_and_keep_best"})
    run = replace(FAILING["equilibrium"][1], from_step=1_001)
    health, stopped = HealthMonitor(spec, INFO), 0
    for until in range(1_000, 20_001, 1_000):
        list(feed(health, spec, run, after=until - 1_000, until=until))
        if health.action.kind == "stop":
            stopped = until
            break
    # Quality improves until step 6,000, and the last improvement by 5 % was there.
    assert stopped == 11_000
    assert [f.code for f in health.findings] == ["equilibrium"]
    assert health.verdict == "healthy" and "better than a coin" in health.action.why
    assert {e.metric for e in health.findings[0].evidence} == {
        "evaluations_in_balance", "evaluations_without_improvement"
    }  # fmt: skip


def test_equilibrium_needs_images_that_a_person_recognises() -> None:
    """A D that cannot tell poor images is too weak; it is not at the end of its game."""
    spec = spec_with(safeguards={"policy": "stop_and_keep_best"})
    run = replace(FAILING["equilibrium"][1], evaluation={"precision": 0.1}, from_step=1)
    health = HealthMonitor(spec, INFO)
    list(feed(health, spec, run, until=16_000))
    assert "equilibrium" not in [f.code for f in health.findings]


def test_a_checkpoint_of_an_earlier_version_goes_on() -> None:
    """Its history has "lowest" and "precision", and no evidence; the next evaluation brings it."""
    spec = spec_with()
    health = HealthMonitor(spec, INFO)
    list(feed(health, spec, SimulatedRun(), until=FAILS_AT))
    state: dict[str, Any] = json.loads(json.dumps(health.state()))
    for name in (
        "recognisable",
        "improved_to",
        "settled",
        "settled_at",
        "evaluated_at",
        "figures",
        "missing",
        "learned",
    ):
        del state["quality"][name]
    state["quality"] |= {"lowest": 3.3, "precision": 0.92}
    resumed = HealthMonitor(spec, INFO)
    resumed.load(state)
    assert (resumed.verdict, resumed.best) == ("unknown", health.best)
    list(feed(resumed, spec, SimulatedRun(), after=FAILS_AT, until=FAILS_AT + 1_000))
    assert resumed.verdict == "healthy"
