"""Rows of the record as response bodies, a file a noun."""

from api.views.audit import act
from api.views.jobs import (
    checkpoint,
    dataset,
    evaluation,
    event,
    finite,
    job_view,
    job_views,
    key,
    listed,
    metric,
    moment,
    new_key,
    preset,
    preview,
    tenant,
    worker,
)
from api.views.webhooks import delivery, webhook, webhook_made

__all__ = [
    "act",
    "checkpoint",
    "dataset",
    "delivery",
    "evaluation",
    "event",
    "finite",
    "job_view",
    "job_views",
    "key",
    "listed",
    "metric",
    "moment",
    "new_key",
    "preset",
    "preview",
    "tenant",
    "webhook",
    "webhook_made",
    "worker",
]
