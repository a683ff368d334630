"""What a user asks of training, and the door through which it comes: one closed, frozen, versioned class.

`TrainSpec` is the POST body, the JSON column, `Trainer(spec)` and the YAML file of `python -m gan train`.
It is checked once, at the door (`resolve`, then `check_against`); inside, it is trusted.
Imports pydantic only: the face and the record read it without loading torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gan.spec.catalog import DatasetInfo
from gan.spec.families import FAMILIES
from gan.spec.fields import MOST_PREVIEW_PIXELS, SPEC_VERSION, TrainSpec
from gan.spec.presets import DEFAULT_PRESET, PRESETS
from gan.spec.problems import SpecError, SpecProblem, problem_of, the_first
from gan.spec.rules import combinations, without_effect


class UnknownPresetError(SpecError):
    """A preset's name that there is none of."""

    def __init__(self, name: object) -> None:
        known = ", ".join(PRESETS)
        detail = f"There is no preset {str(name)[:200]!r}. Take one of: {known}."
        super().__init__([SpecProblem(pointer="/preset", code="unknown-preset", detail=detail)])


def resolve(body: Mapping[str, Any]) -> TrainSpec:
    """Lay `body` over its preset and the defaults; every default is written out in the answer.

    Raises `UnknownPresetError` or `SpecError` with a pointer for each problem, all at once.
    """
    name = body.get("preset", DEFAULT_PRESET)
    if not isinstance(name, str):
        # Say "wrong type" of the preset, in the words every other field gets.
        overrides: Mapping[str, Any] = {}
    elif name in PRESETS:
        overrides = PRESETS[name].overrides
    else:
        raise UnknownPresetError(name)
    try:
        spec = _laid_over(overrides, body)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise SpecError(the_first(map(_problem, found), len(found))) from None
    if problems := [*combinations(spec), *without_effect(spec, _laid_over(overrides, {"dataset": spec.dataset}))]:
        raise SpecError(problems)
    return spec


def preset_spec(name: str, dataset: str = "fashion-mnist-mini") -> TrainSpec:
    """The full spec of a preset on `dataset`. Raises `UnknownPresetError`."""
    return resolve({"preset": name, "dataset": dataset})


def from_record(values: Mapping[str, Any]) -> TrainSpec:
    """A spec as `model_dump(mode="json")` wrote it. Raises pydantic's `ValidationError`.

    What version 1 could say means the same in version 2, which has more to say; it did not evaluate.
    """
    if values.get("spec_version") == 1:
        values = {**values, "spec_version": SPEC_VERSION, "evaluation": {"enabled": False}}
    return TrainSpec.model_validate_json(json.dumps(values))


def check_against(spec: TrainSpec, dataset: DatasetInfo) -> None:
    """Raise `SpecError` where `spec` asks of `dataset` what it does not have."""
    problems = []
    if spec.conditional and not dataset.classes:
        problems.append(
            SpecProblem(
                pointer="/conditioning/kind",
                code="dataset-without-labels",
                detail=f"The images of {dataset.name!r} carry no labels. Set conditioning.kind to 'none', "
                "or take a data set with classes.",
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
                detail=f"The images are {dataset.width} x {dataset.height}; the networks reach 128 x 128.",
            )
        )
    most = spec.most_per_class(len(dataset.classes), dataset.height, dataset.width)
    if spec.previews.per_class > most:
        problems.append(
            SpecProblem(
                pointer="/previews/per_class",
                code="preview-too-large",
                detail=f"A preview of {spec.previews.per_class} images of each class of {dataset.name!r} would be "
                f"larger than {MOST_PREVIEW_PIXELS // 1_000_000} million pixels; set previews.per_class to {most} or "
                "fewer.",
            )
        )
    if problems:
        raise SpecError(problems)


def image_size(spec: TrainSpec, dataset: DatasetInfo) -> int:
    """The side in pixels at which the networks work; images are padded to it with black.

    mlp: the image's own; all others: the next power of two, 16 at the least (28 is padded to 32).
    """
    side = max(dataset.height, dataset.width)
    fully_connected = FAMILIES[spec.generator.architecture].fully_connected
    return side if fully_connected else max(16, 1 << (side - 1).bit_length())


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, objects field by field, everything else whole; both are left as they are."""
    new = dict(below)
    for key, value in above.items():
        under = new.get(key)
        new[key] = merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return new


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> TrainSpec:
    return TrainSpec.model_validate_json(json.dumps(merged(below, above)))


def _problem(error: ErrorDetails) -> SpecProblem:
    return problem_of(error, _fields_at([str(part) for part in error["loc"][:-1]]))


def _fields_at(path: list[str]) -> list[str]:
    """The names of the fields of the object at `path` in a spec; of a list's entries where it leads into one."""
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
