"""Queries about callers: tenants, API keys, the audit log, webhooks and their deliveries, idempotency keys."""
