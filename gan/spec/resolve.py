"""Validation of a spec: `resolve` completes and checks a request body, `check_against` compares it with a data set.

`TrainSpec` is the body of `POST /v1/jobs`, a JSON column of the database, the argument of `Trainer` and the YAML file
of `python -m gan train`. It is validated once, where it enters; all other code relies on it.
This module imports pydantic only, so that `api` and `jobs` can use it without loading torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gan.spec.catalog import DatasetInfo
from gan.spec.families import FAMILIES
from gan.spec.fields import MAX_PREVIEW_PIXELS, SPEC_VERSION, TrainSpec
from gan.spec.presets import DEFAULT_PRESET, PRESETS
from gan.spec.problems import SpecError, SpecProblem, first_problems, problem_of
from gan.spec.rules import combinations, without_effect


class UnknownPresetError(SpecError):
    """There is no preset of this name."""

    def __init__(self, name: object) -> None:
        known = ", ".join(PRESETS)
        detail = f"There is no preset {str(name)[:200]!r}. Take one of: {known}."
        super().__init__([SpecProblem(pointer="/preset", code="unknown-preset", detail=detail)])


# Thresholds of earlier versions, with their defaults. A spec that such a version has written out has all of them.
_RETIRED_THRESHOLDS: Final = {"conditioning_chance": 1.5}


def resolve(body: Mapping[str, Any]) -> TrainSpec:
    """Return the complete spec of `body`: its fields override those of its preset, which override the defaults.

    A retired threshold is accepted with the default that it had. Raises `UnknownPresetError`, or `SpecError` with all
    problems at once.
    """
    body = _without_retired(body, lambda name, value: value == _RETIRED_THRESHOLDS[name])
    name = body.get("preset", DEFAULT_PRESET)
    if not isinstance(name, str):
        # Pydantic reports the wrong type below, as for every other field.
        overrides: Mapping[str, Any] = {}
    elif name in PRESETS:
        overrides = PRESETS[name].overrides
    else:
        raise UnknownPresetError(name)
    try:
        spec = _merged_spec(overrides, body)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise SpecError(first_problems(map(_problem, found), len(found))) from None
    untouched = _merged_spec(overrides, {"dataset": spec.dataset})
    if problems := [*combinations(spec), *without_effect(spec, untouched)]:
        raise SpecError(problems)
    return spec


def preset_spec(name: str, dataset: str = "fashion-mnist-mini") -> TrainSpec:
    """Return the complete spec of a preset on `dataset`. Raises `UnknownPresetError`."""
    return resolve({"preset": name, "dataset": dataset})


def from_record(values: Mapping[str, Any]) -> TrainSpec:
    """Return the spec that `model_dump(mode="json")` has written, also in an older version. Raises `ValidationError`.

    All fields of version 1 mean the same in version 2, which has more fields. Version 1 had no evaluations. Retired
    thresholds are left out, whatever their value was.
    """
    values = _without_retired(values, lambda name, value: True)
    if values.get("spec_version") == 1:
        values = {**values, "spec_version": SPEC_VERSION, "evaluation": {"enabled": False}}
    return TrainSpec.model_validate_json(json.dumps(values))


def check_against(spec: TrainSpec, dataset: DatasetInfo) -> None:
    """Raise `SpecError` with all problems if `spec` cannot be trained on `dataset`."""
    problems = []
    if spec.conditional and not dataset.classes:
        problems.append(
            SpecProblem(
                pointer="/conditioning/kind",
                code="dataset-without-labels",
                detail=f"The images of {dataset.name!r} have no labels. Set conditioning.kind to 'none', or take a "
                "data set with classes.",
            )
        )
    if spec.batch_size > dataset.num_images:
        problems.append(
            SpecProblem(
                pointer="/batch_size",
                code="batch-larger-than-dataset",
                detail=f"{dataset.name!r} has {dataset.num_images} images; set batch_size to that or fewer.",
            )
        )
    if max(dataset.height, dataset.width) > 128:
        problems.append(
            SpecProblem(
                pointer="/dataset",
                code="images-too-large",
                detail=f"The images have {dataset.width} x {dataset.height} pixels; the limit is 128 x 128.",
            )
        )
    most = spec.most_per_class(len(dataset.classes), dataset.height, dataset.width)
    if spec.previews.per_class > most:
        problems.append(
            SpecProblem(
                pointer="/previews/per_class",
                code="preview-too-large",
                detail=f"A preview of {spec.previews.per_class} images of each class of {dataset.name!r} would have "
                f"more than {MAX_PREVIEW_PIXELS // 1_000_000} million pixels; set previews.per_class to {most} or "
                "fewer.",
            )
        )
    if problems:
        raise SpecError(problems)


def image_size(spec: TrainSpec, dataset: DatasetInfo) -> int:
    """Return the side in pixels of the images that the networks work on; real images are padded to it with black.

    It is that of the images for fully connected networks, and for all others the next power of two, at least 16 (28
    gives 32).
    """
    side = max(dataset.height, dataset.width)
    fully_connected = FAMILIES[spec.generator.architecture].fully_connected
    return side if fully_connected else max(16, 1 << (side - 1).bit_length())


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above`: objects are merged field by field, other values are replaced.

    Neither argument is changed.
    """
    new = dict(below)
    for key, value in above.items():
        old = new.get(key)
        new[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return new


def _without_retired(values: Mapping[str, Any], left_out: Callable[[str, Any], bool]) -> Mapping[str, Any]:
    """Return `values` without the retired thresholds for which `left_out` is true; `values` is not changed."""
    safeguards = values.get("safeguards")
    thresholds = safeguards.get("thresholds") if isinstance(safeguards, Mapping) else None
    if not isinstance(safeguards, Mapping) or not isinstance(thresholds, Mapping):
        return values
    kept = {k: v for k, v in thresholds.items() if k not in _RETIRED_THRESHOLDS or not left_out(k, v)}
    return {**values, "safeguards": {**safeguards, "thresholds": kept}}


def _merged_spec(below: Mapping[str, Any], above: Mapping[str, Any]) -> TrainSpec:
    return TrainSpec.model_validate_json(json.dumps(merged(below, above)))


def _problem(error: ErrorDetails) -> SpecProblem:
    return problem_of(error, _fields_at([str(part) for part in error["loc"][:-1]]))


def _fields_at(path: list[str]) -> list[str]:
    """Return the field names of the object at `path` in a spec. List indices in `path` are skipped."""
    model: type[BaseModel] = TrainSpec
    for part in path:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = next((a for a in (annotation, *get_args(annotation)) if _is_model(a)), None)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
