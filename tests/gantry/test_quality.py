"""How the client shows quality metrics agrees with their declaration, which the client cannot import."""

from __future__ import annotations

import pytest

from gan.spec.metrics import QUALITY_METRICS
from gantry.quality import SUMMARY, shown


@pytest.mark.parametrize("name", QUALITY_METRICS)
def test_a_metric_is_shown_as_it_is_declared(name: str) -> None:
    declared, metric = QUALITY_METRICS[name], shown(name)
    assert metric.label == (declared.label or name.replace("_", " "))
    assert metric.lower_is_better == (declared.better == "lower")
    assert metric.drawn == declared.drawn
    assert (name in SUMMARY) == declared.in_summary


def test_the_summary_names_declared_metrics() -> None:
    assert set(SUMMARY) <= QUALITY_METRICS.keys()


def test_a_metric_of_a_newer_server_is_shown_under_its_own_name() -> None:
    metric = shown("new_share")
    assert (metric.label, metric.lower_is_better, metric.drawn) == ("new share", False, True)
