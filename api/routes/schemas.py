"""JSON Schemas of request bodies, for programs that write them."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.context import READS
from gan.spec import TrainSpec

router = APIRouter(prefix="/v1/schemas", tags=["schemas"], dependencies=[READS])


class JsonSchema(JSONResponse):
    """A JSON Schema, with its own media type."""

    media_type = "application/schema+json"


@router.get("/job", response_class=JsonSchema)
def get_job_schema() -> JsonSchema:
    """Return the JSON Schema of the body of POST /v1/jobs: every field with its meaning, unit, default and limits.

    The defaults are those without a preset. /v1/presets lists the values of each preset.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TrainSpec.model_json_schema()}
    return JsonSchema(schema)
