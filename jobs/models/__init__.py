"""The tables, one file for each topic. `migrations/` reads them; only `jobs/store/` queries them."""

from jobs.models.audit import Act
from jobs.models.base import DEFAULT_TENANT, SHARED, Base, OfJob, OfTenant
from jobs.models.datasets import Dataset
from jobs.models.jobs import NO_VERDICT, Attempt, IdempotencyKey, Job, JobEvent, Outbox, has_status
from jobs.models.progress import Checkpoint, Evaluation, MetricBlock, Preview
from jobs.models.tenants import ApiKey, Tenant, TenantTurn
from jobs.models.webhooks import Webhook, WebhookDelivery
from jobs.models.workers import Worker

__all__ = [
    "DEFAULT_TENANT",
    "NO_VERDICT",
    "SHARED",
    "Act",
    "ApiKey",
    "Attempt",
    "Base",
    "Checkpoint",
    "Dataset",
    "Evaluation",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "MetricBlock",
    "OfJob",
    "OfTenant",
    "Outbox",
    "Preview",
    "Tenant",
    "TenantTurn",
    "Webhook",
    "WebhookDelivery",
    "Worker",
    "has_status",
]
