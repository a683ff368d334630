"""The base class of all parts of a spec. This module imports pydantic only."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _integral(value: object) -> object:
    """Convert a float with an integral value to int: JSON has one number type, in which 64.0 is 64.

    Other values are returned unchanged, so that 64.5, true and "64" are refused.
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


INTEGRAL: Final = BeforeValidator(_integral)
"""The validator of integer fields. In `Annotated` it must come after the bounds; otherwise the JSON Schema of a
nullable number lacks them."""

Int = Annotated[int, INTEGRAL]


class SpecModel(BaseModel):
    """A part of a spec: frozen and strict, without unknown fields, NaN or infinity; "12" and true are not numbers."""

    # In a response every field is there, also those with a default.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        json_schema_serialization_defaults_required=True,
    )


def with_property_names(schema: dict[str, Any]) -> None:
    """Describe a map by `propertyNames`: many generators of clients do not know `patternProperties`."""
    ((pattern, value),) = schema.pop("patternProperties").items()
    schema.update(propertyNames={"pattern": pattern}, additionalProperties=value)
