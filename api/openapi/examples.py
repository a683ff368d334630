"""Examples of every body, parameter and problem. A test holds them against their schemas."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from api.http.problems import problem_body
from gan.spec import preset_spec

Json = dict[str, Any]

JOB: Final = "job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"
CHECKPOINT: Final = "ckpt_01JD2MB3Q4R5S6T7V8W9X0Y1Z2"
DATASET: Final = "ds_01JD2KX1Y2Z3A4B5C6D7E8F9G0"
KEY: Final = "key_01JD2JA9B8C7D6E5F4G3H2J1K0"
HOOK: Final = "hook_01JD2N5P6Q7R8S9T0V1W2X3Y4Z"
MESSAGE: Final = "msg_01JD2NA1B2C3D4E5F6G7H8J9K0"
WORKER: Final = "wrk_01JD2H0A1B2C3D4E5F6G7H8J9K"
REQUEST: Final = "01JD2P3R4S5T6V7W8X9Y0Z1A2B"
SHA256: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
T0, T1, T2 = "2026-01-01T12:00:00Z", "2026-01-01T12:00:02.150Z", "2026-01-01T12:04:31.700Z"

_SPEC: Final = preset_spec("cgan").model_dump(mode="json")
_REASON: Final = {"code": "no_worker", "message": "No worker is running; start one with `gantry worker`."}
_FINDING: Final = {
    "code": "mode_collapse",
    "severity": "warning",
    "began_at_step": 4000,
    "found_at_step": 4500,
    "message": "The images of a class are nearly the same: their mean distance is 0.15 of that between real images.",
    "evidence": [{"metric": "diversity", "value": 0.15, "threshold": 0.2}],
    "remedy": [{"pointer": "/discriminator/minibatch_features", "value": 16, "why": "D then compares images."}],
}
_CLASS: Final = {"id": 7, "label": "Sneaker"}
_KEY: Final = {
    "id": KEY,
    "tenant": "default",
    "name": "CI of the vision team",
    "handle": "Zk3vQ9aB",
    "scopes": ["jobs:read", "jobs:write"],
    "created_at": T0,
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": T1,
}
_HOOK: Final = {
    "id": HOOK,
    "url": "https://ci.example.org/gantry",
    "events": ["job.status", "health.finding"],
    "enabled": True,
    "disabled_reason": None,
    "created_at": T0,
}
_QUOTAS: Final = {"max_queued": 100, "max_running": 4, "device_hours": None, "storage_mb": 50_000}
_ESTIMATE: Final = {
    "generator_parameters": 1_064_321,
    "discriminator_parameters": 663_489,
    "memory_bytes": 182_000_000,
    "checkpoint_bytes": 24_800_000,
    "disk_bytes": 101_000_000,
    "seconds": 49,
    "images_per_second": 2613.0,
    "device": "cuda:0 NVIDIA H200",
}
_STATUS_EVENT: Final = {"job_id": JOB, "seq": 7, "attempt": 1, "status": "succeeded"}

JOB_VIEW: Final[Json] = {
    "id": JOB,
    "name": "clothes by class",
    "labels": {"team": "vision"},
    "status": "running",
    "status_reason": None,
    "attempt": 1,
    "allowed_actions": ["cancel", "pause"],
    "progress": {
        "step": 512,
        "total_steps": 2000,
        "fraction": 0.256,
        "images_seen": 32_768,
        "images_per_second": 2613.0,
        "eta_seconds": 37,
        "updated_at": T2,
    },
    "queue": None,
    "latest_metrics": {"loss_d": 0.62, "loss_g": 1.31, "d_accuracy": 0.71},
    "health": {
        "verdict": "warning",
        "reason": None,
        "message": _FINDING["message"],
        "missing": [],
        "findings": [_FINDING],
    },
    "best_checkpoint_id": CHECKPOINT,
    "last_checkpoint_id": CHECKPOINT,
    "worker": {"id": WORKER, "device": "cuda:0 NVIDIA H200", "heartbeat_at": T2},
    "error": None,
    "spec": _SPEC,
    "created_at": T0,
    "started_at": T1,
    "finished_at": None,
    "retry_of": None,
    "links": {
        "self": f"/v1/jobs/{JOB}",
        **{name: f"/v1/jobs/{JOB}/{name}" for name in ("events", "metrics", "checkpoints", "evaluations", "samples")},
    },
}
DELIVERY: Final[Json] = {
    "id": MESSAGE,
    "webhook_id": HOOK,
    "type": "job.status",
    "job_id": JOB,
    "state": "delivered",
    "payload": {"type": "job.status", "timestamp": T2, "data": _STATUS_EVENT},
    "tries": [{"attempt": 1, "at": T2, "status": 204, "error": None, "milliseconds": 48}],
    "next_at": None,
    "created_at": T2,
}

BODIES: Final[dict[str, Any]] = {
    # requests
    "TrainSpecInput": {"dataset": "fashion-mnist-mini", "preset": "cgan", "total_steps": 2000, "name": "clothes"},
    "NewKey": {"name": "CI of the vision team", "scopes": ["jobs:read", "jobs:write"]},
    "Rotation": {"overlap_seconds": 3600},
    "QuotasInput": {"max_running": 4, "device_hours": None},
    "WebhookBody": {"url": _HOOK["url"], "events": _HOOK["events"]},
    "WebhookChange": {"enabled": False},
    # responses
    "JobView": JOB_VIEW,
    "DryRun": {"spec": _SPEC, "estimate": _ESTIMATE},
    "MetricView": {
        "name": "loss_d",
        "last": 0.62,
        "last_step": 512,
        "min": 0.31,
        "max": 1.39,
        "count": 512,
        "nonfinite_count": 0,
    },
    "SeriesView": {
        "series": {"loss_d": [[1, 1.39], [256, 0.58], [512, 0.62]]},
        "reduced": True,
        "source_points": 512,
        "reduce": "minmax",
        "nonfinite_count": 0,
    },
    "EventView": {
        "seq": 2,
        "type": "job.status",
        "attempt": 1,
        "data": {"status": "running"},
        "actor": None,
        "at": T1,
    },
    "PreviewView": {"step": 200, "url": f"/v1/jobs/{JOB}/previews/200.png"},
    "EvaluationView": {
        "step": 500,
        "attempt": 1,
        "is_best": True,
        "metrics": {"fcd": 12.4, "coverage": 0.71, "label_accuracy": 0.83},
        "reference": {"fcd": 0.4, "coverage": 0.97, "label_accuracy": 0.9},
        "class_histogram": {"Sneaker": 0.11},
        "real_class_histogram": {"Sneaker": 0.1},
        "within_class_diversity": {"Sneaker": 0.94},
        "label_accuracy_by_class": {"Sneaker": 0.91},
        "provenance": {"feature_net": "fashion_mnist", "images": 2000, "split": "held_out", "seed": 0},
        "created_at": T2,
    },
    "CheckpointView": {
        "id": CHECKPOINT,
        "step": 500,
        "attempt": 1,
        "metrics": {"loss_d": 0.6, "loss_g": 1.3},
        "is_last": True,
        "is_best": True,
        "bytes": 24_811_204,
        "sha256": SHA256,
        "created_at": T2,
    },
    "ClassView": _CLASS,
    "Manifest": {
        "job_id": JOB,
        "checkpoint": {"id": CHECKPOINT, "step": 500},
        "truncation": 1.0,
        "images": [{"index": 0, "class_id": 7, "label": "Sneaker", "seed": 7}],
    },
    "DatasetView": {
        "id": DATASET,
        "name": "shoes",
        "status": "ready",
        "num_images": 720,
        "channels": 3,
        "height": 64,
        "width": 64,
        "classes": [{**_CLASS, "count": 360}],
        "sha256": SHA256,
        "problems": [],
        "num_held_out": 80,
        "preparation": {"side": 64, "channels": 3, "words": "cropped to the central square and scaled to 64 x 64"},
        "notes": ["2 files that are no images were left out: Thumbs.db, .DS_Store."],
        "progress": None,
    },
    "PresetView": {
        "name": "cgan",
        "title": "Conditional DCGAN",
        "summary": "The default. It draws recognisable images of each class after a minute on a CPU.",
        "paper": "Mirza and Osindero 2014, arXiv:1411.1784",
        "reach": "",
        "is_default": True,
        "spec": _SPEC,
    },
    "WebhookView": _HOOK,
    "WebhookMade": {**_HOOK, "secret": "whsec_bm90IGEgc2VjcmV0LCBhbiBleGFtcGxl"},
    "DeliveryView": DELIVERY,
    "WorkerView": {
        "id": WORKER,
        "host": "gpu-3",
        "devices": [{"name": "cuda:0 NVIDIA H200"}],
        "status": "busy",
        "current_job_id": JOB,
        "heartbeat_at": T2,
    },
    "KeyView": _KEY,
    "NewKeyView": {**_KEY, "key": "gan_live_Zk3vQ9aB..."},
    "TenantView": {
        "id": "default",
        "quotas": _QUOTAS,
        "usage": {"queued": 3, "running": 1, "device_hours": 12.5, "storage_mb": 830.0},
        "created_at": T0,
    },
    "ActView": {
        "tenant": "default",
        "actor": KEY,
        "action": "job.cancel",
        "subject": JOB,
        "detail": None,
        "request_id": REQUEST,
        "at": T2,
    },
    "Alive": {"status": "alive"},
    "Ready": {
        "status": "ready",
        "parts": {name: {"ok": True, "detail": None} for name in ("broker", "database", "migrations")},
    },
}
"""An example by the name of the schema that it has."""

OTHER_BODIES: Final[dict[tuple[str, str], Any]] = {
    ("retry_job", "request"): {"from": "last"},
    ("add_dataset", "request"): {"file": "the bytes of shoes.zip", "name": "shoes", "size": 64},
    ("get_series", "text/csv"): "step,loss_d,loss_g\n1,1.39,0.71\n2,1.36,0.75\n",
    ("get_job_schema", "application/schema+json"): {"type": "object", "required": ["dataset"]},
    ("get_prometheus_metrics", "text/plain"): 'gantry_jobs{status="running"} 1.0\n',
    ("list_events", "text/event-stream"): (
        "retry: 1000\n"
        'event: job.status\ndata: {"seq":1,"type":"job.status","attempt":0,"data":{"status":"queued"},"actor":null,'
        '"at":"2026-01-01T12:00:00Z"}\nid: 1\n\n'
        ": heartbeat\n"
        'event: stream.end\ndata: {"status": "cancelled", "last_seq": 2}\n\n'
    ),
}
"""An example of a body without a named schema, by operation and by `request` or media type."""

PARAMETERS: Final[dict[str, Any]] = {
    "job_id": JOB,
    "checkpoint_id": CHECKPOINT,
    "key_id": KEY,
    "webhook_id": HOOK,
    "delivery_id": MESSAGE,
    "worker_id": WORKER,
    "name_or_id": "fashion-mnist-mini",
    "name": "cgan",
    "tenant": "default",
    "step": 200,
    "dry_run": True,
    "limit": 20,
    "after": 2,
    "status": "running,queued",
    "dataset": "fashion-mnist-mini",
    "preset": "cgan",
    "names": "loss_d,loss_g",
    "from_step": 100,
    "to_step": 500,
    "after_step": 100,
    "max_points": 200,
    "reduce": "minmax",
    "n": 8,
    "seed": 7,
    "checkpoint": "best",
    "truncation": 0.8,
    "part": "generator",
    "format": "safetensors",
    "subject": JOB,
    "actor": KEY,
    "if-none-match": '"6f1c2a70d3b94e58a1f0c7d2e9b8a4c3f5d6e7a8"',
    "if-range": f'"{SHA256}"',
    "range": "bytes=0-1023",
    "prefer": "wait=20",
    "last-event-id": 2,
    "Idempotency-Key": "5f0c9d52-6f1c-4a70-93b9-4e58a1f0c7d2",
}
"""An example of each parameter by its name. `cursor` has none: only the service can make one."""

LABELS: Final = {"list_jobs": ["team:vision"], "draw_samples": ["Sneaker"], "get_contact_sheet": ["Bag", "Dress"]}
"""Examples of `label`, which differ by operation."""

_PROBLEMS: Final[dict[int, tuple[str, str, Json]]] = {
    400: ("malformed-json", "The body is not JSON: expecting value (line 1, column 1).", {"line": 1, "column": 1}),
    401: ("missing-api-key", "Send a key: Authorization: Bearer gan_live_...", {}),
    403: ("insufficient-scope", "The key does not have the scope jobs:write.", {}),
    404: ("job-not-found", f"There is no job {JOB!r}.", {}),
    406: ("not-acceptable", "None of these types is available.", {"valid_types": ["application/json", "text/csv"]}),
    409: (
        "invalid-transition",
        "The job is succeeded and cannot be paused.",
        {"current_status": "succeeded", "allowed_actions": ["delete"]},
    ),
    413: ("body-too-large", "The body is larger than 256 KiB, the limit of this service.", {}),
    415: ("unsupported-media-type", "Send the body as application/json in UTF-8.", {}),
    416: ("range-not-satisfiable", "The file does not have these bytes; Content-Range gives its length.", {}),
    422: (
        "invalid-spec",
        "There is no field 'total_stepz'; did you mean 'total_steps'?",
        {
            "errors": [
                {
                    "pointer": "/total_stepz",
                    "code": "unknown-field",
                    "detail": "There is no field 'total_stepz'; did you mean 'total_steps'?",
                }
            ]
        },
    ),
    429: ("rate-limited", "The key has made as many requests as it may; try again in 5 s.", {}),
    500: ("internal", "The service has failed unexpectedly; its log has the details under this request_id.", {}),
    501: ("export-unavailable", "The generator cannot be exported as onnx.", {}),
    503: ("sampler-busy", "The sampler is busy; try again in 2 s.", {}),
}


@cache
def problem_examples() -> dict[str, Json]:
    """Return an example of a problem by its status."""
    return {
        str(status): {
            "summary": code.replace("-", " ").capitalize(),
            "value": problem_body(f"/v1/jobs/{JOB}", status, code, detail, REQUEST, **members),
        }
        for status, (code, detail, members) in _PROBLEMS.items()
    }
