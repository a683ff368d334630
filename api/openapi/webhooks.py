"""The requests that the service itself sends: one for each type of event that a webhook may receive."""

from __future__ import annotations

from typing import Final

from api.openapi.examples import CHECKPOINT, HOOK, JOB, MESSAGE, T2
from api.openapi.responses import TEXT, Json
from jobs.status import Status
from jobs.store.callers.deliveries import FIELDS, TEST

_WHEN: Final = {
    "job.status": "The status of a job has changed.",
    "checkpoint.created": "A checkpoint was saved.",
    "evaluation.completed": "The quality of the images was measured.",
    "health.finding": "A finding was raised, or the verdict on the training has changed.",
    TEST: "You asked for a test with `POST /v1/webhooks/{webhook_id}/test`.",
}
_DESCRIPTION: Final = """{when}

The body says what happened to which job; read the rest with `GET /v1/jobs/{{job_id}}`. Verify the signature over the
bytes of the body before you parse it (standardwebhooks.com; libraries exist for most languages). Answer 2xx at once:
anything else, a redirect included, is an attempt that failed, and twelve attempts are made within a day. A delivery
may come twice and out of order: `webhook-id` and `seq` tell.
"""
_HEADERS: Final = (
    ("webhook-id", "The id of the delivery, the same in every attempt.", MESSAGE),
    (
        "webhook-timestamp",
        "When this attempt was made, in seconds since 1970. Refuse one that is older than five minutes.",
        "1767268802",
    ),
    (
        "webhook-signature",
        "v1, and the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}` under the webhook's secret, in base64. "
        "The secret is what follows whsec_, decoded from base64.",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
)
_JOB: Final[dict[str, Json]] = {
    "job_id": TEXT,
    "seq": {"type": "integer", "description": "The number of the event, as in `GET /v1/jobs/{job_id}/events`."},
    "attempt": {"type": "integer"},
}
_FIELDS: Final[dict[str, Json]] = {
    "status": {"type": "string", "enum": [status.value for status in Status]},
    "checkpoint_id": TEXT,
    "step": {"type": "integer"},
    "is_best": {"type": "boolean"},
    "code": {"type": "string", "description": "The code of the finding; verdict if only the verdict has changed."},
    "severity": {"type": "string", "enum": ["info", "warning", "critical"]},
    "verdict": {"type": "string"},
    "webhook_id": TEXT,
}
_EXAMPLES: Final = {
    "job_id": JOB,
    "seq": 7,
    "attempt": 1,
    "status": "succeeded",
    "checkpoint_id": CHECKPOINT,
    "step": 500,
    "is_best": True,
    "code": "mode_collapse",
    "severity": "warning",
    "verdict": "warning",
    "webhook_id": HOOK,
}


def webhooks() -> Json:
    """Return the `webhooks` object (OpenAPI 3.1), by the type of the event."""
    return {name: {"post": _operation(name, when)} for name, when in _WHEN.items()}


def _operation(event: str, when: str) -> Json:
    data = {"webhook_id": TEXT} if event == TEST else {**_JOB, **{name: _FIELDS[name] for name in FIELDS[event]}}
    schema = _object(
        {
            "type": {"type": "string", "const": event},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "data": _object(data),
        }
    )
    example = {"type": event, "timestamp": T2, "data": {name: _EXAMPLES[name] for name in data}}
    return {
        "tags": ["webhooks"],
        "operationId": f"receive_{event.replace('.', '_')}",
        "summary": f"Receive {event}",
        "description": _DESCRIPTION.format(when=when),
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": about,
                "schema": TEXT,
                "example": example,
            }
            for name, about, example in _HEADERS
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": {
            "2XX": {"description": "The event was received."},
            "410": {"description": "The address is gone: the service disables the webhook."},
        },
    }


def _object(properties: dict[str, Json]) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}
