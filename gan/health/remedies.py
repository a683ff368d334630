"""The remedy of a finding: a set of changes to the spec that passes validation.

The candidates for each finding are in `gan.health.treatments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan.findings import SpecChange, applied
from gan.health.quality import BestEvaluation
from gan.health.spec_changes import Treatment, TreatmentCase
from gan.health.symptom import Symptom
from gan.health.treatments import TREATMENTS
from gan.spec import SpecError, check_against, preset_spec, resolve
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec
from gan.spec.pointers import fields_of


def remedy_for(
    symptom: Symptom, spec: TrainSpec, info: DatasetInfo, best: BestEvaluation | None
) -> tuple[SpecChange, ...]:
    """Return the first treatment that changes `spec` and leaves it valid; () where there is none."""
    for treatment in TREATMENTS[symptom.code](TreatmentCase(symptom, spec, best, info.num_images)):
        if remedy := completed(treatment, spec, info):
            return remedy
    return ()


def completed(treatment: Treatment, spec: TrainSpec, info: DatasetInfo) -> tuple[SpecChange, ...]:
    """Return the changes of `treatment` that have an effect on `spec`, together with the resets that they need.

    A field that has no effect any more after the changes is reset to its preset's value. Return () where the
    treatment changes nothing, or where the resulting spec is invalid for another reason.
    """
    current = spec.model_dump(mode="json")
    body = applied(current, treatment)
    preset = preset_spec(body["preset"], spec.dataset).model_dump(mode="json")
    # If the preset changes, a field that the user did not set takes the value of the new preset.
    known = [current] if body["preset"] == spec.preset else [current, preset]
    effective = tuple(c for c in treatment if any(_value_at(one, c.pointer) != c.value for one in known))
    try:
        check_against(resolve(body), info)
    except SpecError as error:
        unused = [p.pointer for p in error.problems if p.code == "has-no-effect"]
        if len(unused) < len(error.problems) or set(unused) & {change.pointer for change in effective}:
            return ()
        resets = (SpecChange(p, _value_at(preset, p), "This field would have no effect then.") for p in unused)
        return completed((*effective, *resets), spec, info)
    return effective


def _value_at(body: Mapping[str, Any], pointer: str) -> Any:
    value: Any = body
    for name in fields_of(pointer):
        value = value[name]
    return value
