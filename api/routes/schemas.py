"""The form of what is asked here, for programs that write it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.context import READS
from gan.spec import TrainSpec

router = APIRouter(prefix="/v1/schemas", tags=["schemas"], dependencies=[READS])


class JsonSchema(JSONResponse):
    """A schema, by its own type."""

    media_type = "application/schema+json"


@router.get("/job", response_class=JsonSchema)
def job_schema() -> JsonSchema:
    """JSON Schema of the body of POST /v1/jobs: every field with its meaning, unit, default and bounds.

    The defaults are those without a preset; a preset's own stand in /v1/presets.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TrainSpec.model_json_schema()}
    return JsonSchema(schema)
