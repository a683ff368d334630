"""What every part of a spec is: closed, frozen and strict. Pydantic only."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _integral(value: object) -> object:
    """JSON has one number type: 64.0 is the integer 64 (and 64.5, true and "64" are not)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


INTEGRAL: Final = BeforeValidator(_integral)
"""Stands last: what bounds the number comes before it, or the JSON Schema of a number that may be null loses them."""

Int = Annotated[int, INTEGRAL]


class SpecModel(BaseModel):
    """No unknown field, no change after it was made, no NaN or infinity; "12" and true are not silently numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
