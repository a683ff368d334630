"""The form of what is asked here, for programs that write it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from gan.spec import TrainSpec

router = APIRouter(prefix="/v1/schemas", tags=["schemas"])


@router.get("/job", response_model=dict[str, Any])
def job_schema() -> JSONResponse:
    """JSON Schema of the body of POST /v1/jobs: every field with its meaning, unit, default and bounds.

    The defaults are those without a preset; a preset's own stand in /v1/presets.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TrainSpec.model_json_schema()}
    return JSONResponse(schema, media_type="application/schema+json")
