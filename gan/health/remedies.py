"""What would cure a finding: fields of the POST body to set, in one set that is taken at the door.

Which plans there are for a finding is in `gan.health.treatments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan.findings import SpecChange, applied
from gan.health.quality import BestEvaluation
from gan.health.spec_changes import Plan, TreatmentCase
from gan.health.symptom import Symptom
from gan.health.treatments import PLANS
from gan.spec import SpecError, check_against, preset_spec, resolve
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec
from gan.spec.pointers import fields_of


def remedy_for(sign: Symptom, spec: TrainSpec, info: DatasetInfo, best: BestEvaluation | None) -> Plan:
    """The first plan that does something and makes a spec that is taken, whole; () where there is none."""
    for plan in PLANS[sign.code](TreatmentCase(sign, spec, best)):
        if done := completed(plan, spec, info):
            return done
    return ()


def completed(plan: Plan, spec: TrainSpec, info: DatasetInfo) -> Plan:
    """`plan` without what is so already, and with the fields put back that nothing would read; () if refused."""
    now = spec.model_dump(mode="json")
    body = applied(now, plan)
    below = preset_spec(body["preset"], spec.dataset).model_dump(mode="json")
    # Under another preset, what the user has left out is what that one says.
    known = [now] if body["preset"] == spec.preset else [now, below]
    plan = tuple(remedy for remedy in plan if any(_get(one, remedy.pointer) != remedy.value for one in known))
    try:
        check_against(resolve(body), info)
    except SpecError as error:
        idle = [p.pointer for p in error.problems if p.code == "has-no-effect"]
        if len(idle) < len(error.problems) or set(idle) & {remedy.pointer for remedy in plan}:
            return ()
        reset = tuple(SpecChange(pointer, _get(below, pointer), "Nothing would read it then.") for pointer in idle)
        return completed((*plan, *reset), spec, info)
    return plan


def _get(body: Mapping[str, Any], pointer: str) -> Any:
    value: Any = body
    for name in fields_of(pointer):
        value = value[name]
    return value
