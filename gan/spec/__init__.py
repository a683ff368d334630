"""The spec of a job: its fields, rules and presets, and `resolve`, which validates the body of a request.

This package imports pydantic only, so that `api` and `jobs` can read specs without loading torch.
"""

from gan.spec.base import INTEGRAL
from gan.spec.catalog import BUILTIN_DATASETS, DatasetClass, DatasetInfo
from gan.spec.fields import SPEC_VERSION, OptimizerSpec, TrainSpec
from gan.spec.installed import why_not_installed
from gan.spec.memory_bound import max_memory_bytes
from gan.spec.pointers import fields_of, pointer_to, put
from gan.spec.presets import DEFAULT_PRESET, PRESETS, Preset
from gan.spec.problems import PROBLEM_CODES, SpecError, SpecProblem, first_problems, problem_of
from gan.spec.resolve import UnknownPresetError, check_against, from_record, image_size, merged, preset_spec, resolve
from gan.spec.text import UNSEEN, nfc, plain_label

__all__ = [
    "BUILTIN_DATASETS",
    "DEFAULT_PRESET",
    "INTEGRAL",
    "PRESETS",
    "PROBLEM_CODES",
    "SPEC_VERSION",
    "UNSEEN",
    "DatasetClass",
    "DatasetInfo",
    "OptimizerSpec",
    "Preset",
    "SpecError",
    "SpecProblem",
    "TrainSpec",
    "UnknownPresetError",
    "check_against",
    "fields_of",
    "first_problems",
    "from_record",
    "image_size",
    "max_memory_bytes",
    "merged",
    "nfc",
    "plain_label",
    "pointer_to",
    "preset_spec",
    "problem_of",
    "put",
    "resolve",
    "why_not_installed",
]
