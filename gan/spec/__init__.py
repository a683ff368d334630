"""What a user asks of training: fields, rules, presets, and `resolve`, which checks a request body once.

This package imports pydantic only, so that the API and the record can read specs without loading torch.
"""

from gan.spec.base import INTEGRAL
from gan.spec.catalog import BUILTIN_DATASETS, DatasetClass, DatasetInfo
from gan.spec.fields import SPEC_VERSION, UNSEEN, OptimizerSpec, TrainSpec
from gan.spec.memory_bound import max_memory_bytes
from gan.spec.pointers import fields_of, pointer_to, put
from gan.spec.presets import DEFAULT_PRESET, PRESETS, Preset
from gan.spec.problems import PROBLEM_CODES, SpecError, SpecProblem, problem_of, the_first
from gan.spec.resolve import UnknownPresetError, check_against, from_record, image_size, merged, preset_spec, resolve

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
    "from_record",
    "image_size",
    "max_memory_bytes",
    "merged",
    "pointer_to",
    "preset_spec",
    "problem_of",
    "put",
    "resolve",
    "the_first",
]
