"""Numbers as people read them, charts as ECharts does, and the form as the service does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from api.ui import charts, words
from api.ui.body import OTHER, Form, placed
from tests.api.conftest import FINDING


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (4, "4 s"), (364, "6 min 4 s"), (7260, "2 h 1 min"), (90000, "1 d 1 h")],
)
def test_a_span_has_its_two_largest_units(seconds: float | None, said: str) -> None:
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"), [(None, "–"), (999, "999 B"), (1500, "1.5 kB"), (2.5e8, "250 MB"), (4e13, "40.0 TB")]
)
def test_bytes_have_the_unit_that_fits(number: float | None, said: str) -> None:
    assert words.size(number) == said


def test_a_moment_is_told_from_now() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert (
        words.ago("2026-01-01T00:00:00Z", now) == "1 min 0 s ago" and words.ago("2026-01-01T00:00:59Z", now) == "now"
    )


def test_a_value_that_is_not_finite_is_a_gap() -> None:
    options = charts.curves({"loss_d": [[1, 0.5], [2, None], [3, 0.7]]})
    assert options["series"][0]["data"][1] == [2, None] and not options["series"][0]["connectNulls"]


def test_a_finding_is_a_line_where_it_began() -> None:
    (mark,) = charts.curves({"loss_d": [[1, 1.0]]}, [FINDING])["series"][0]["markLine"]["data"]
    assert mark["xAxis"] == 10 and mark["label"]["formatter"] == "vanishing_gradients"


def test_accuracy_has_an_axis_of_its_own_and_stays_linear() -> None:
    options = charts.curves({"loss_d": [[1, 1.0]], "d_accuracy": [[1, 0.5]]}, log=True)
    assert [axis["type"] for axis in options["yAxis"]] == ["log", "value"]
    assert options["series"][1]["yAxisIndex"] == 1


def test_distances_and_shares_stand_on_different_axes() -> None:
    found = [{"step": 20, "metrics": {"fcd": 1.0, "coverage": 0.5}}, {"step": 10, "metrics": {"fcd": 2.0}}]
    fcd, coverage = charts.quality(found, ["fcd", "coverage"])["series"]
    assert fcd["data"] == [[10, 2.0], [20, 1.0]] and (fcd["yAxisIndex"], coverage["yAxisIndex"]) == (0, 1)


def test_a_chart_is_told_in_words() -> None:
    assert charts.in_words({"loss_d": [[1, 1.0], [9, None]]}) == "D loss: 1 at step 1, 1 at step 1."
    assert charts.in_words({}) == "No points yet."


def test_what_is_left_empty_is_left_to_the_preset() -> None:
    assert Form(preset="cgan", dataset="d", name="").body() == {"preset": "cgan", "dataset": "d"}


def test_fields_come_on_top_of_a_spec_and_leave_it_as_it_was() -> None:
    base: dict[str, Any] = {"optimizers": {"g": {"beta1": 0.5}}, "seed": 1}
    body = Form(seed=2.0, other="optimizers.g.beta1=0", base=base).body()
    assert body == {"optimizers": {"g": {"beta1": 0}}, "seed": 2} and base["optimizers"]["g"]["beta1"] == 0.5


def test_a_fraction_is_the_services_to_refuse() -> None:
    assert Form(total_steps=2.5).body() == {"total_steps": 2.5}


def test_a_problem_belongs_to_its_field_to_the_free_one_or_to_none() -> None:
    errors = [
        {"pointer": "/seed", "code": "c", "detail": "Too low."},
        {"pointer": "/optimizers/g/beta1", "code": "c", "detail": "Too high."},
        {"pointer": "/penalties", "code": "c", "detail": "Missing."},
    ]
    at, rest = placed(errors, Form(other="optimizers.g.beta1=2"))
    assert at == {"seed": "Too low.", OTHER: "optimizers.g.beta1: Too high."} and rest == ["penalties: Missing."]


def test_a_field_that_was_set_in_the_free_one_has_its_problem_there() -> None:
    at, _ = placed([{"pointer": "/seed", "code": "c", "detail": "Too low."}], Form(other="seed=-1"))
    assert list(at) == [OTHER]
