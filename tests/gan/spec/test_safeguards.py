"""The thresholds: each has bounds and a description, is explained in the docs, and is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

import gan.health
from gan.findings import Code
from gan.spec import SpecError, from_record, resolve
from gan.spec.fields import TrainSpec
from gan.spec.safeguards import SafeguardsSpec, ThresholdsSpec

FIELDS = ThresholdsSpec.model_fields
BODY = {"dataset": "fashion-mnist-mini"}
DOCS = Path(__file__).parents[3] / "docs" / "health.md"
READERS = [
    *Path(gan.health.__file__).parent.glob("*.py"),
    Path(gan.health.__file__).parents[1] / "quality" / "probes.py",
]


def thresholds(**limits: Any) -> TrainSpec:
    """Return a spec with these thresholds."""
    return resolve({"dataset": "fashion-mnist-mini", "safeguards": {"thresholds": limits}})


@pytest.mark.parametrize("name", FIELDS)
def test_every_threshold_has_a_description_and_bounds(name: str) -> None:
    schema = ThresholdsSpec.model_json_schema()["properties"][name]
    assert schema["description"].endswith(".")
    assert {"minimum", "exclusiveMinimum"} & set(schema)
    assert {"maximum", "exclusiveMaximum"} & set(schema)


@pytest.mark.parametrize("name", FIELDS)
def test_every_threshold_is_used_by_health_and_explained_in_the_docs(name: str) -> None:
    assert any(name in path.read_text() for path in READERS)
    assert f"`{name}`" in DOCS.read_text()


@pytest.mark.parametrize("name", FIELDS)
def test_the_docs_state_the_defaults(name: str) -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert rows[0].split("|")[2].strip().replace(",", "") == f"{FIELDS[name].default:g}"


def test_the_docs_have_a_section_for_every_finding() -> None:
    text = DOCS.read_text()
    assert all(f"## `{code}`" in text for code in get_args(Code))


def test_thresholds_are_validated() -> None:
    assert thresholds(past_best_critical=2.0).safeguards.thresholds.past_best_critical == 2.0
    with pytest.raises(SpecError) as refused:
        thresholds(past_best_critical=0.5, no_such=1)
    pointers = {problem.pointer for problem in refused.value.problems}
    assert pointers == {"/safeguards/thresholds/past_best_critical", "/safeguards/thresholds/no_such"}


def test_the_defaults() -> None:
    spec = SafeguardsSpec()
    assert (spec.policy, spec.every_steps, spec.probe_every_steps) == ("warn", 100, 500)
    limits = spec.thresholds
    assert (limits.past_best_warning, limits.past_best_critical, limits.evaluations) == (1.25, 1.5, 5)
    assert (limits.warm_up_share, limits.warm_up_images, limits.window_steps) == (0.05, 20_000, 4_000)


def test_a_retired_threshold_is_read_and_only_its_old_default_is_accepted() -> None:
    """A spec that the last version has written out has it, and `gantry submit --from JOB` sends it back."""

    def with_chance(value: float) -> dict[str, Any]:
        spec = resolve(BODY).model_dump(mode="json")
        spec["safeguards"]["thresholds"]["conditioning_chance"] = value
        return spec

    assert from_record(with_chance(2.0)) == resolve(with_chance(1.5)) == resolve(BODY)
    with pytest.raises(SpecError) as caught:
        resolve(with_chance(2.0))
    assert [p.pointer for p in caught.value.problems] == ["/safeguards/thresholds/conditioning_chance"]
