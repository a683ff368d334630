"""Formatted numbers, chart options, sparklines, and the fields and the body of the form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from api.ui import charts, formatting, sparklines
from api.ui.job_form import OTHER, JobForm, assign_problems
from api.ui.schema import groups, value_at
from gan.spec import TrainSpec
from tests.api.conftest import FINDING


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (4, "4 s"), (364, "6 min 4 s"), (7260, "2 h 1 min"), (90000, "1 d 1 h")],
)
def test_a_span_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, "–"), (999, "999 B"), (1500, "1.5 kB"), (2.5e8, "250 MB"), (4e13, "40.0 TB")]
)
def test_bytes_have_the_unit_that_fits(number: float | None, text: str) -> None:
    assert formatting.size(number) == text


def test_a_timestamp_is_shown_relative_to_now() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert (
        formatting.ago("2026-01-01T00:00:00Z", now) == "1 min 0 s ago"
        and formatting.ago("2026-01-01T00:00:59Z", now) == "now"
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


def test_distances_and_shares_have_different_axes() -> None:
    found = [{"step": 20, "metrics": {"fcd": 1.0, "coverage": 0.5}}, {"step": 10, "metrics": {"fcd": 2.0}}]
    fcd, coverage = charts.quality(found, ["fcd", "coverage"])["series"]
    assert fcd["data"] == [[10, 2.0], [20, 1.0]] and (fcd["yAxisIndex"], coverage["yAxisIndex"]) == (0, 1)


def test_a_chart_has_a_text_alternative() -> None:
    assert charts.describe({"loss_d": [[1, 1.0], [9, None]]}) == "D loss: 1 at step 1, 1 at step 1."
    assert charts.describe({}) == "No points yet."


def test_empty_fields_are_not_sent() -> None:
    assert JobForm(preset="cgan", dataset="d", name="").body() == {"preset": "cgan", "dataset": "d"}


def test_fields_override_a_base_spec_without_changing_it() -> None:
    base: dict[str, Any] = {"optimizers": {"g": {"beta1": 0.5}}, "seed": 1}
    body = JobForm(seed=2.0, other="optimizers.g.beta1=0", base=base).body()
    assert body == {"optimizers": {"g": {"beta1": 0}}, "seed": 2} and base["optimizers"]["g"]["beta1"] == 0.5


def test_a_fraction_is_sent_unchanged() -> None:
    assert JobForm(total_steps=2.5).body() == {"total_steps": 2.5}


def test_a_problem_is_assigned_to_its_field_to_the_free_text_or_to_none() -> None:
    errors = [
        {"pointer": "/seed", "code": "c", "detail": "Too low."},
        {"pointer": "/optimizers/g/beta1", "code": "c", "detail": "Too high."},
        {"pointer": "/penalties", "code": "c", "detail": "Missing."},
    ]
    at, rest = assign_problems(errors, JobForm(other="optimizers.g.beta1=2"))
    assert at == {"seed": "Too low.", OTHER: "optimizers.g.beta1: Too high."} and rest == ["penalties: Missing."]


def test_a_problem_of_a_field_set_in_the_free_text_is_shown_there() -> None:
    at, _ = assign_problems([{"pointer": "/seed", "code": "c", "detail": "Too low."}], JobForm(other="seed=-1"))
    assert list(at) == [OTHER]


def test_a_sparkline_spans_both_losses_and_skips_gaps() -> None:
    drawn = sparklines.draw(
        {"loss_d": [[1, 0.0], [2, None], [3, 4.0]], "loss_g": [[2, 2.0]], "d_accuracy": [[1, 9.0]]}
    )
    assert 'points="0.0,36.0 96.0,0.0"' in drawn and 'points="48.0,18.0"' in drawn
    assert sparklines.draw({}).count('points=""') == 2


def test_the_status_of_a_check_is_one_sentence() -> None:
    assert formatting.validation_status({"status": "ready", "progress": None, "problems": []}) == ""
    assert formatting.validation_status({"status": "failed", "progress": None, "problems": [1, 2]}) == "2 problems."
    assert (
        formatting.validation_status({"status": "failed", "progress": None, "problems": [1] * 101})
        == "At least 100 problems."
    )


def test_the_form_has_every_number_boolean_and_enum_of_the_schema() -> None:
    found = groups(TrainSpec.model_json_schema())
    fields = {field.path: field for group in found for field in group.fields}
    assert found[0].title == "Training" and "batch_size" in fields and "seed" not in fields
    assert "optimizers.g" in {group.title for group in found}
    assert fields["generator.architecture"].options == ("dcgan", "mlp", "resnet", "r3gan")
    assert fields["ema.enabled"].options == (True, False)
    beta = fields["optimizers.d.beta1"]
    assert (beta.low, beta.high, beta.whole, beta.options) == (0, 1, False, ())
    assert fields["max_runtime_seconds"].whole
    assert "safeguards.thresholds.warm_up_share" in fields and "penalties" not in fields
    assert [path for path, field in fields.items() if not field.about] == []


def test_a_value_is_found_in_a_spec() -> None:
    assert value_at({"a": {"b": 0}}, "a.b") == 0
    assert value_at({"a": None}, "a.b") is None


def test_fields_are_set_at_their_paths() -> None:
    form = JobForm(preset="cgan", dataset="d", fields={"optimizers.g.beta1": 0.25, "batch_size": 32.0})
    assert form.body() == {"preset": "cgan", "dataset": "d", "optimizers": {"g": {"beta1": 0.25}}, "batch_size": 32}
    at, rest = assign_problems([{"pointer": "/optimizers/g/beta1", "code": "c", "detail": "No."}], form)
    assert at == {"optimizers.g.beta1": "No."} and rest == []
